"""Options of the commands that submit jobs, and the jobspec they stand for (flux-submit(1), RFC 14, RFC 25).

The jobspec is a plain dict: the checks of `flux.job.Jobspec` are made again by the instance, and importing them
takes longer than the rest of a submission. For the same reason a parser gets only the options that a command line
may use. Values stay text until the jobspec is made, so that {cc} may stand for any part of them.
"""

from __future__ import annotations

import argparse
import os

from flux_cli.common import Parser, die
from flux_cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Option = tuple[tuple[str, ...], dict[str, Any]]

__all__ = ["COMMON", "build_jobspec", "is_ranks", "job_flags", "make_parser", "parse", "parse_urgency"]


class _EnvRule(argparse.Action):
    """Collects rules of --env, --env-remove and --env-file in the order given."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        prefix = {"--env-remove": "-", "--env-file": "^"}.get(option_string or "", "")
        namespace.env = [*namespace.env, prefix + values]


def _value(*flags: str, metavar: str, help: str, **more: Any) -> Option:
    return flags, {"metavar": metavar, "help": help, **more}


def _flag(*flags: str, help: str, **more: Any) -> Option:
    return flags, {"action": "store_true", "help": help, **more}


def _list(*flags: str, metavar: str, help: str, **more: Any) -> Option:
    return flags, {"action": "append", "default": [], "metavar": metavar, "help": help, **more}


COMMON: list[Option] = [
    _value("-n", "--ntasks", metavar="N", help="number of tasks (default 1, or the number of nodes)"),
    _value("-N", "--nodes", metavar="N", help="number of nodes, the tasks spread over them"),
    _value("-c", "--cores-per-task", metavar="N", help="cores for each task (default 1)"),
    _value("-g", "--gpus-per-task", metavar="N", help="GPUs for each task"),
    _flag("-x", "--exclusive", help="whole nodes, shared with no other job"),
    _value("--cores", metavar="N", help="number of cores, in place of -n and -c"),
    _value("--tasks-per-node", metavar="N", help="tasks on each node"),
    _value("--tasks-per-core", metavar="N", help="tasks on each core"),
    _value("--gpus-per-node", metavar="N", help="GPUs on each node, with --cores or --tasks-per-node"),
    _value("-t", "--time-limit", metavar="FSD", help="time limit, such as 90s, 30m or 2h"),
    _value("-q", "--queue", metavar="NAME", help="queue to submit to"),
    _value("-B", "--bank", metavar="BANK", help="bank to charge"),
    _value("--job-name", metavar="NAME", help="name of the job (default: the command)"),
    _value("--urgency", metavar="N", default="16", help="0 to 31, or hold, default, expedite"),
    _list("--dependency", metavar="URI", help="do not start before SCHEME:VALUE is satisfied"),
    _value("--begin-time", metavar="DATETIME", help="do not start before this time"),
    _list("--requires", metavar="CONSTRAINT", help="which nodes will do, such as a property or host:NAMES"),
    _value("--input", metavar="FILE|RANKS", help="stdin from a file, or only for these ranks"),
    _value("--output", metavar="TEMPLATE", help="file for stdout; none or kvs for the KVS"),
    _value("--error", metavar="TEMPLATE", help="file for stderr; none or kvs for the KVS"),
    _flag("-l", "--label-io", help="begin each line of output with the task's rank"),
    _flag("-u", "--unbuffered", help="do not gather output into lines"),
    _value("--cwd", metavar="DIR", help="working directory of the tasks (default: this one)"),
    (
        ("--env", "--env-remove", "--env-file"),
        {"action": _EnvRule, "default": [], "metavar": "RULE", "dest": "env", "help": "which environment the job gets"},
    ),
    _list("-o", "--setopt", metavar="KEY[=VAL]", help="set an option of the job shell"),
    _list("-S", "--setattr", metavar="KEY[=VAL]", help="set an attribute of the jobspec"),
    _list("--add-file", metavar="[NAME=]ARG", help="let the job find a file in {{tmpdir}}"),
    _value("--taskmap", metavar="SCHEME[:VALUE]", help="how tasks are assigned to nodes"),
    _list("--flags", metavar="FLAG", help="submission flags: debug, waitable, novalidate"),
    _flag("--debug", help="as --flags=debug"),
    _flag("--dry-run", help="print the jobspec instead of submitting it"),
    (("-v", "--verbose"), {"action": "count", "default": 0, "help": "say more on stderr; may be repeated"}),
]

_JOB_FLAGS = {"debug": 2, "waitable": 4, "novalidate": 8}
_URGENCIES = {"hold": 0, "default": 16, "expedite": 31}


def make_parser(name: str, description: str, options: Sequence[Option], argv: Sequence[str]) -> Parser:
    """A parser with those of the options that argv may use: with all, when it has one that is not known exactly."""
    known = {flag for flags, _ in options for flag in flags}
    used: set[str] = set()
    for word in argv:
        if word.startswith("--"):
            used.add(word.partition("=")[0])
        elif word.startswith("-"):
            used.add(word[:2])
            used.update(known.intersection(f"-{letter}" for letter in word[2:]))
    wants_all = not used <= known | {"-", "--"}
    parser = Parser(name, description, usage=f"flux {name} [OPTIONS] COMMAND [ARGS...]")
    for flags, settings in options:
        if wants_all or not used.isdisjoint(flags):
            parser.add_argument(*flags, **settings)
        else:
            parser.set_defaults(**{_dest(flags, settings): _default(settings)})
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help=argparse.SUPPRESS)
    return parser


def _dest(flags: Sequence[str], settings: dict[str, Any]) -> str:
    name = next((flag for flag in flags if flag.startswith("--")), flags[0])
    return str(settings.get("dest") or name.lstrip("-").replace("-", "_"))


def _default(settings: dict[str, Any]) -> Any:
    return settings.get("default", False if settings.get("action") == "store_true" else None)


def parse(name: str, description: str, options: Sequence[Option], argv: Sequence[str]) -> argparse.Namespace:
    """Parse a command line whose COMMAND is required."""
    parser = make_parser(name, description, options, argv)
    args = parser.parse_args(argv)
    if args.command[:1] == ["--"]:
        args.command = args.command[1:]
    if not args.command:
        parser.error("a job needs a command to run")
    return args


def job_flags(args: Any) -> dict[str, bool]:
    """Keyword arguments of `flux.job.submit_async` for --flags and --debug."""
    words = [word for words in args.flags for word in words.split(",") if word] + ["debug"] * args.debug
    for word in words:
        if word not in _JOB_FLAGS:
            die(f"--flags: there is no flag '{word}': one of {', '.join(_JOB_FLAGS)}")
    return dict.fromkeys(words, True)


def parse_urgency(text: str) -> int:
    """--urgency as a number."""
    number = _URGENCIES.get(text)
    if number is None:
        number = _count("--urgency", text, 0)
        if number > 31:
            die(f"--urgency: expected 0 to 31, hold, default or expedite, got {text}")
    return number


def _count(option: str, text: str, least: int = 1) -> int:
    if not text.isdecimal() or int(text) < least:
        die(f"{option}: expected a number of at least {least}, got '{text}'")
    return int(text)


def _optional(option: str, text: str | None, least: int = 1) -> int | None:
    return None if text is None else _count(option, text, least)


# -- the jobspec


def build_jobspec(args: Any, environment: dict[str, str]) -> dict[str, Any]:
    """The jobspec of parsed options, version 1 (RFC 25). CommandError names the option that makes no sense."""
    resources, tasks, shell = _request(args)
    system: dict[str, Any] = {
        "duration": _seconds(args.time_limit),
        "cwd": args.cwd or os.getcwd(),
        "environment": environment,
        "shell": {"options": shell},
    }
    spec = {"resources": resources, "tasks": [tasks], "attributes": {"system": system}, "version": 1}
    _name(args, system)
    _conditions(args, system)
    _streams(args, shell)
    _extras(args, spec, system, shell)
    return spec


def _request(args: Any) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]]:
    """Resources, task and shell options."""
    from flux.job import _jobspec_build as build

    nodes = _optional("--nodes", args.nodes)
    try:
        if any((args.cores, args.tasks_per_node, args.tasks_per_core, args.gpus_per_node)):
            return _per_resource(args, nodes)
        ntasks = _optional("--ntasks", args.ntasks) or nodes or 1
        resources = build.slot_resources(
            ntasks,
            _optional("--cores-per-task", args.cores_per_task) or 1,
            _optional("--gpus-per-task", args.gpus_per_task, 0),
            nodes,
            args.exclusive,
        )
        return resources, build.task(args.command, ntasks, nodes), {}
    except ValueError as exc:
        raise CommandError(str(exc)) from None


def _per_resource(args: Any, nodes: int | None) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]]:
    from flux.job import _jobspec_build as build

    if args.ntasks or args.cores_per_task or args.gpus_per_task:
        die("--cores, --tasks-per-node, --tasks-per-core and --gpus-per-node do not go with -n, -c and -g")
    if args.tasks_per_node and args.tasks_per_core:
        die("--tasks-per-node and --tasks-per-core exclude each other")
    cores = _optional("--cores", args.cores)
    exclusive = args.exclusive or (cores is None and nodes is not None)
    gpus = _optional("--gpus-per-node", args.gpus_per_node, 0)
    resources = build.per_resource_resources(cores, nodes, gpus, exclusive)
    task = build.task(args.command, 1, None)
    for kind, text in (("node", args.tasks_per_node), ("core", args.tasks_per_core)):
        if text:
            return resources, task, {"per-resource": {"type": kind, "count": _count(f"--tasks-per-{kind}", text)}}
    return resources, task, {"per-resource": {"type": "core"}} if args.cores else {}


def _seconds(text: str | None) -> float:
    if text is None:
        return 0
    from flux.util import parse_fsd

    try:
        seconds = parse_fsd(text)
    except ValueError as exc:
        raise CommandError(f"--time-limit: {exc}") from None
    return 0 if seconds == float("inf") else seconds


def _name(args: Any, system: dict[str, Any]) -> None:
    if args.job_name:
        system["job"] = {"name": args.job_name}
    if args.queue:
        system["queue"] = args.queue
    if args.bank:
        system["bank"] = args.bank


def _conditions(args: Any, system: dict[str, Any]) -> None:
    dependencies = [_dependency(uri) for uri in args.dependency]
    if args.begin_time:
        dependencies.append({"scheme": "begin-time", "value": str(_timestamp(args.begin_time))})
    if dependencies:
        system["dependencies"] = dependencies
    if args.requires:
        from flux_cli.requires import parse_requires

        system["constraints"] = parse_requires(args.requires)


def _dependency(uri: str) -> dict[str, Any]:
    """SCHEME:VALUE[?KEY=VAL[&KEY=VAL...]] as an object (RFC 26)."""
    scheme, colon, rest = uri.partition(":")
    if not colon or not scheme:
        if uri == "singleton":
            return {"scheme": "singleton", "value": ""}
        die(f"--dependency: expected SCHEME:VALUE[?KEY=VAL], got '{uri}'")
    value, _, query = rest.partition("?")
    entry: dict[str, Any] = {"scheme": scheme, "value": value}
    for pair in query.split("&") if query else ():
        key, _, text = pair.partition("=")
        entry[key] = _json_or_text(text)
    return entry


def _timestamp(text: str) -> float:
    from flux.util import parse_datetime

    try:
        return parse_datetime(text).timestamp()
    except ValueError as exc:
        raise CommandError(f"--begin-time: {exc}") from None


def _streams(args: Any, shell: dict[str, Any]) -> None:
    output = {name: _stream(args, name, path) for name, path in (("stdout", args.output), ("stderr", args.error))}
    output = {name: settings for name, settings in output.items() if settings}
    if output:
        shell["output"] = output
    if args.input and not is_ranks(args.input):
        shell["input"] = {"stdin": {"type": "file", "path": args.input}}


def _stream(args: Any, name: str, path: str | None) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if path in ("none", "kvs"):
        settings["type"] = "kvs"
    elif path is not None:
        settings |= {"type": "file", "path": path}
    if args.label_io and path not in (None, "none", "kvs"):
        settings["label"] = True
    if args.unbuffered:
        settings["buffer"] = {"type": "none"}
    return settings


def is_ranks(text: str) -> bool:
    """True when --input names ranks and no file."""
    return text in ("all", "none") or not text.strip("0123456789,-[]")


def _extras(args: Any, spec: dict[str, Any], system: dict[str, Any], shell: dict[str, Any]) -> None:
    if args.taskmap:
        scheme, _, value = args.taskmap.partition(":")
        shell["taskmap"] = {"scheme": scheme, "value": value}
    for setting in args.add_file:
        _add_file(system, setting)
    for setting in args.setopt:
        key, equals, text = setting.partition("=")
        _set(shell, key, _json_or_text(text) if equals else 1, "--setopt")
    for setting in args.setattr:
        _set_attribute(spec["attributes"], setting)


def _set_attribute(attributes: dict[str, Any], setting: str) -> None:
    key, equals, text = setting.partition("=")
    value: Any = _json_or_text(text) if equals else 1
    if key.startswith("^"):
        key = key[1:]
        with open(text) as stream:
            value = _json_of_file(text, stream.read())
    key = key.removeprefix("attributes.")
    if not key.startswith(("system.", "user.", ".")):
        key = f"system.{key}"
    _set(attributes, key.lstrip("."), value, "--setattr")


def _json_of_file(path: str, text: str) -> Any:
    from json import loads

    try:
        return loads(text)
    except ValueError as exc:
        raise CommandError(f"--setattr: {path} is not JSON: {exc}") from None


def _set(tree: dict[str, Any], key: str, value: Any, option: str) -> None:
    *parents, last = key.split(".")
    if not last or not all(parents):
        die(f"{option}: expected KEY=VAL with a dotted KEY, got '{key}'")
    for part in parents:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            die(f"{option}: '{key}' is below a value that is no object")
    tree[last] = value


def _json_or_text(text: str) -> Any:
    from json import loads

    try:
        return loads(text)
    except ValueError:
        return text


def _add_file(system: dict[str, Any], setting: str) -> None:
    from flux.job._jobspec_build import file_entry

    name, equals, data = setting.partition("=")
    if not equals or "\n" in name:
        name, data = os.path.basename(setting), setting
    system.setdefault("files", {})[name] = file_entry(data, 0o600, None)
