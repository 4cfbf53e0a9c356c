"""Options of the commands that submit jobs (flux-submit(1)).

A parser gets only the options that a command line may use: making all of them takes longer than the rest of a
submission. Values stay text until the jobspec is made, so that {cc} may stand for any part of them.
"""

from __future__ import annotations

import argparse

from flux.cli import plugin_files, plugin_points
from flux_cli.common import Parser, die

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from flux.cli.plugin import CLIPluginRegistry

    Option = tuple[tuple[str, ...], dict[str, Any]]

__all__ = [
    "COMMON",
    "JOB",
    "Option",
    "count",
    "drop_double_dash",
    "extended",
    "flag",
    "is_ranks",
    "job_flags",
    "make_parser",
    "optional_count",
    "parse",
    "parse_urgency",
    "prepared",
    "several",
    "value",
    "wants_plugin_list",
]


class _EnvRule(argparse.Action):
    """Collects rules of --env, --env-remove and --env-file in the order given."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        prefix = {"--env-remove": "-", "--env-file": "^"}.get(option_string or "", "")
        namespace.env = [*namespace.env, prefix + values]


def value(*flags: str, metavar: str, help: str, **more: Any) -> Option:
    return flags, {"metavar": metavar, "help": help, **more}


def flag(*flags: str, help: str, **more: Any) -> Option:
    return flags, {"action": "store_true", "help": help, **more}


def several(*flags: str, metavar: str, help: str, **more: Any) -> Option:
    return flags, {"action": "append", "default": [], "metavar": metavar, "help": help, **more}


JOB: list[Option] = [
    flag("-x", "--exclusive", help="whole nodes, shared with no other job"),
    value("-N", "--nodes", metavar="N", help="number of nodes; without a number of tasks or slots, whole ones"),
    value("-t", "--time-limit", metavar="MIN|FSD", help="time limit, such as 90s, 2h or, in minutes, 30"),
    value("-q", "--queue", metavar="NAME", help="queue to submit to"),
    value("-B", "--bank", metavar="BANK", help="bank to charge"),
    value("--job-name", metavar="NAME", help="name of the job (default: the command)"),
    value("--urgency", metavar="N", default="16", help="0 to 31, or hold, default, expedite"),
    several("--dependency", metavar="URI", help="do not start before SCHEME:VALUE is satisfied"),
    value("--begin-time", metavar="+FSD|TIME", help="do not start before this time, such as +1h or tomorrow 8am"),
    several("--requires", "--require", metavar="CONSTRAINT", help="which nodes will do, such as a property"),
    value("--signal", metavar="[SIG][@TIME]", help="send SIG (USR1) TIME (60s) before the time limit"),
    value("--input", metavar="FILE|RANKS", help="stdin from a file, or only for these ranks"),
    value("--output", metavar="TEMPLATE", help="file for stdout; none or kvs for the KVS"),
    value("--error", metavar="TEMPLATE", help="file for stderr; none or kvs for the KVS"),
    flag("-l", "--label-io", help="begin each line of output with the task's rank"),
    flag("-u", "--unbuffered", help="do not gather output into lines"),
    value("--cwd", metavar="DIR", help="working directory of the tasks (default: this one)"),
    (
        ("--env", "--env-remove", "--env-file"),
        {"action": _EnvRule, "default": [], "metavar": "RULE", "dest": "env", "help": "which environment the job gets"},
    ),
    several("--rlimit", metavar="RULE", help="which resource limits the job gets: NAME, NAME=VALUE or -PATTERN"),
    several("-o", "--setopt", metavar="KEY[=VAL]", help="set an option of the job shell"),
    several("-S", "--setattr", metavar="KEY[=VAL]", help="set an attribute of the jobspec"),
    several("--add-file", metavar="[NAME[:PERMS]=]ARG", help="let the job find a file in {{tmpdir}}"),
    value("--resources-json", metavar="FILE", help="take the jobspec's resources from a file, not from options"),
    value("--resources-shape", metavar="SHAPE", help="take them from a shape such as node=2/slot=4/core (RFC 46)"),
    several("--flags", metavar="FLAGS", help="submission flags: debug, waitable, novalidate"),
    flag("--debug", help="as --flags=debug"),
    flag("--dry-run", "--dry", help="print the jobspec instead of submitting it"),
    flag("--quiet", help="do not print job ids"),
    flag("--list-plugins", help="say which plugins extend this command"),
]
"""What all five commands take."""

COMMON: list[Option] = [
    value("-n", "--ntasks", metavar="N", help="number of tasks (default 1, or the number of nodes)"),
    value("-c", "--cores-per-task", metavar="N", help="cores for each task (default 1)"),
    value("-g", "--gpus-per-task", metavar="N", help="GPUs for each task"),
    value("--cores", metavar="N", help="number of cores, in place of -n and -c"),
    value("--tasks-per-node", metavar="N", help="tasks on each node"),
    value("--tasks-per-core", metavar="N", help="tasks on each core"),
    value("--gpus-per-node", metavar="N", help="GPUs on each node, with --nodes"),
    *JOB,
    value("--taskmap", metavar="SCHEME[:VALUE]", help="how tasks are assigned to nodes"),
    flag("--debug-emulate", help=argparse.SUPPRESS),
    (("-v", "--verbose"), {"action": "count", "default": 0, "help": "say more on stderr; may be repeated"}),
]
"""What the commands take that run a parallel program."""

_JOB_FLAGS = {"debug": 2, "waitable": 4, "novalidate": 8}
_URGENCIES = {"hold": 0, "default": 16, "expedite": 31}


def make_parser(
    name: str, description: str, options: Sequence[Option], argv: Sequence[str], words: str = "COMMAND [ARGS...]"
) -> Parser:
    """A parser with those of the options that argv may use: with all, when it has one that is not known exactly."""
    plugins = _plugins(name)
    known = {flag for flags, _ in options for flag in flags}
    used: set[str] = set()
    for word in argv:
        if word.startswith("--"):
            used.add(word.partition("=")[0])
        elif word.startswith("-"):
            used.add(word[:2])
            used.update(known.intersection(f"-{letter}" for letter in word[2:]))
    wants_all = not used <= known | {"-", "--"}
    parser = Parser(name, description, usage=f"flux {name} [OPTIONS] {words}", allow_abbrev=False)
    for flags, settings in options:
        if wants_all or not used.isdisjoint(flags):
            parser.add_argument(*flags, **settings)
        else:
            parser.set_defaults(**{_dest(flags, settings): _default(settings)})
    parser.set_defaults(plugins=plugins)
    if plugins is not None:
        from flux_cli.submit_plugins import add_options

        add_options(parser, plugins)
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help=argparse.SUPPRESS)
    return parser


def _plugins(name: str) -> CLIPluginRegistry | None:
    """The plugins of a command; where there are none, that takes a look into a folder and at what is installed."""
    if next(plugin_files(), None) is None and not plugin_points():
        return None
    from flux_cli.submit_plugins import load

    return load(name)


def prepared(args: argparse.Namespace) -> argparse.Namespace:
    """Options as plugins have changed them."""
    if args.plugins is None:
        return args
    from flux_cli import submit_plugins

    return submit_plugins.prepared(args)


def extended(args: argparse.Namespace, spec: dict[str, Any]) -> dict[str, Any]:
    """A jobspec as plugins have changed it."""
    if args.plugins is None:
        return spec
    from flux_cli import submit_plugins

    return submit_plugins.extended(args, spec)


def _dest(flags: Sequence[str], settings: dict[str, Any]) -> str:
    name = next((flag for flag in flags if flag.startswith("--")), flags[0])
    return str(settings.get("dest") or name.lstrip("-").replace("-", "_"))


def _default(settings: dict[str, Any]) -> Any:
    return settings.get("default", False if settings.get("action") == "store_true" else None)


def parse(name: str, description: str, options: Sequence[Option], argv: Sequence[str]) -> argparse.Namespace:
    """Parse a command line whose COMMAND is required."""
    parser = make_parser(name, description, options, argv)
    args = parser.parse_args(argv)
    drop_double_dash(args.command)
    if not args.command and not args.list_plugins:
        die("job command and arguments are missing")
    return args


def drop_double_dash(words: list[str]) -> None:
    """What ends the options is no part of the command."""
    if words[:1] == ["--"]:
        del words[0]


def wants_plugin_list(args: Any) -> bool:
    """Answer --list-plugins."""
    if args.list_plugins:
        from flux.cli.plugin import CLIPluginRegistry

        (args.plugins or CLIPluginRegistry("submit")).print_plugins()
    return bool(args.list_plugins)


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
        number = count("--urgency", text, 0)
        if number > 31:
            die(f"--urgency: expected 0 to 31, hold, default or expedite, got {text}")
    return number


def count(option: str, text: str | int, least: int = 1) -> int:
    """A number given as text, or by a plugin. CommandError naming the option."""
    if not str(text).isdecimal() or int(text) < least:
        die(f"{option}: expected a number of at least {least}, got '{text}'")
    return int(text)


def optional_count(option: str, text: str | int | None, least: int = 1) -> int | None:
    """The same for an option that need not be given."""
    return None if text is None else count(option, text, least)


def is_ranks(text: str) -> bool:
    """True when --input names ranks and no file."""
    return text == "all" or not text.strip("0123456789,-[]")
