"""`flux jobtap`: load, remove and look at the job manager's policies (flux-jobtap(1))."""

from __future__ import annotations

import argparse
import os

from flux_cli.common import Action, Parser, add_list_options, die, dispatch, open_flux, print_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def command(argv: list[str]) -> int:
    return dispatch("jobtap", "Load, remove and query the policies of the job manager.", ACTIONS, argv)


def reference(text: str) -> str:
    """What the job manager is to look for: a file by its absolute path, anything else by name or dotted path."""
    if "/" not in text and not text.endswith(".py"):
        return text
    path = os.path.abspath(text)
    if not os.path.isfile(path):
        die(f"no such plugin file: {text}")
    return path


def parse_conf(words: list[str]) -> dict[str, Any]:
    """["KEY=VAL", ...] to a table; a value that is JSON stands for what it says, any other for its text."""
    conf = {}
    for word in words:
        key, sep, value = word.partition("=")
        if not sep or not key:
            die(f"'{word}' is not KEY=VAL")
        conf[key] = _value(value)
    return conf


def _value(text: str) -> Any:
    import json

    try:
        return json.loads(text)
    except ValueError:
        return text


# -- commands


def _list_arguments(parser: Parser) -> None:
    parser.add_argument("-a", "--all", action="store_true", help="show the builtin policies too")
    add_list_options(parser)


def _list(args: argparse.Namespace) -> int:
    with open_flux() as handle:
        answer = handle.rpc("job-manager.jobtap", {"query_only": True}).get()
    broken = answer.get("broken") or {}
    names = [name for name in answer["plugins"] if args.all or not name.startswith(".")]
    if args.json:
        print_json([{"name": name, "broken": broken.get(name)} for name in names])
    for name in () if args.json else names:
        print(f"{name}  (not asked: {broken[name]})" if name in broken else name)
    return 0


def _load_arguments(parser: Parser) -> None:
    parser.add_argument("-r", "--remove", metavar="NAME", help="remove policies that match NAME first")
    parser.add_argument("--isolated", action="store_true", help="run the policy in a process of its own")
    parser.add_argument("--deadline", metavar="FSD", help="with --isolated: time for one hook (default 5s)")
    parser.add_argument("--on-error", metavar="WHAT", help="with --isolated: hold (default), refuse or ignore")
    parser.add_argument("--memory-limit", metavar="MIB", type=int, help="with --isolated: address space of its process")
    parser.add_argument("plugin", metavar="PLUGIN", help="file, installed name or dotted path")
    parser.add_argument("conf", metavar="KEY=VAL", nargs="*", help="what the policy is configured with")


def _load(args: argparse.Namespace) -> int:
    request: dict[str, Any] = {"load": reference(args.plugin)}
    if args.conf:
        request["conf"] = parse_conf(args.conf)
    if args.remove:
        request["remove"] = args.remove
    if args.isolated:
        request["isolated"] = True
    limits = {"deadline": args.deadline, "on-error": args.on_error, "memory-limit": args.memory_limit}
    request |= {key: value for key, value in limits.items() if value is not None}
    with open_flux() as handle:
        handle.rpc("job-manager.jobtap", request).get()
    return 0


def _remove_arguments(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="name, glob(7) pattern, or all")


def _remove(args: argparse.Namespace) -> int:
    with open_flux() as handle:
        handle.rpc("job-manager.jobtap", {"remove": args.name}).get()
    return 0


def _query_arguments(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="a loaded policy")


def _query(args: argparse.Namespace) -> int:
    with open_flux() as handle:
        print_json(handle.rpc("job-manager.jobtap-query", {"name": args.name}).get())
    return 0


def _test_arguments(parser: Parser) -> None:
    parser.add_argument(
        "-c", "--config", metavar="FILE", help="TOML file that the policy is to take for the instance's"
    )
    parser.add_argument("-a", "--all", action="store_true", help="show jobs that would have fared the same, too")
    parser.add_argument("--json", action="store_true", help="print an object")
    parser.add_argument("plugin", metavar="PLUGIN", help="file, installed name or dotted path")
    parser.add_argument("journal", metavar="JOURNAL", help="events journal, job archive or dump with recorded jobs")
    parser.add_argument("conf", metavar="KEY=VAL", nargs="*", help="what the policy is configured with")


def _test(args: argparse.Namespace) -> int:
    from flux.job.JobID import JobID

    request = {
        "plugin": reference(args.plugin),
        "file": args.journal,
        "options": parse_conf(args.conf),
        "conf": _read_toml(args.config) if args.config else {},
    }
    answer = _replay(request)
    if args.json:
        print_json(answer)
        return 0
    differing = 0
    for outcome in answer["outcomes"]:
        texts = [difference["text"] for difference in outcome["differences"]]
        differing += bool(texts)
        if texts or args.all:
            print(f"{JobID(outcome['id']).f58}  {'; '.join(texts) or 'the same'}")
    print(f"{differing} of {answer['jobs']} jobs would have fared differently")
    return 0


def _read_toml(path: str) -> dict[str, Any]:
    import tomllib

    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except tomllib.TOMLDecodeError as exc:
        die(f"{path}: {exc}")


def _replay(request: dict[str, Any]) -> dict[str, Any]:
    """Have a process replay the jobs: the policy runs in it, and may do what it likes."""
    import json
    import subprocess
    import sys

    command = [sys.executable, "-P", "-m", "flux_plugins.job_manager.replay"]
    done = subprocess.run(command, input=json.dumps(request), stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        die(f"the policy ended the process that replays jobs (status {done.returncode})")
    answer: dict[str, Any] = json.loads(done.stdout)
    if "error" in answer:
        die(answer["error"])
    return answer


ACTIONS = {
    "list": Action(_list, "list the loaded policies", _list_arguments),
    "load": Action(_load, "load a policy", _load_arguments),
    "remove": Action(_remove, "remove policies", _remove_arguments),
    "test": Action(_test, "replay recorded jobs through a policy", _test_arguments),
    "query": Action(_query, "show what a policy says about itself, as JSON", _query_arguments),
}
