"""`flux cron`: run commands at an interval, after events or at a time (flux-cron(1))."""

from __future__ import annotations

import argparse
import os
import time

from flux_cli.common import Action, Column, Parser, add_list_options, die, dispatch, open_flux, print_json, print_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_OPTIONS = {"timeout": float, "rank": int, "task-history-count": int, "stop-on-failure": int}
_TAB_FIELDS = ("minute", "hour", "mday", "month", "weekday")
_TAB_WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 0 *",
}


def command(argv: list[str]) -> int:
    return dispatch("cron", "Run commands at an interval, after events or at a time.", ACTIONS, argv)


def _request(method: str, payload: dict[str, Any]) -> Any:
    with open_flux() as handle:
        return handle.rpc(f"cron.{method}", payload, nodeid=0).get()


# -- options


def _duration(text: str) -> float:
    """Seconds of a number with a unit (an argparse type)."""
    number = text.rstrip("dhms")
    try:
        seconds = float(number) * _UNITS[text[len(number) :] or "s"]
    except (KeyError, ValueError):
        raise argparse.ArgumentTypeError(f"'{text}' is no duration: 10, 1.5s, 5m, 2h and 1d are") from None
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"a duration is 0 or more, not {text}")
    return seconds


def _extra_options(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for setting in text.split(","):
        name, equals, value = setting.strip().partition("=")
        if name not in _OPTIONS or not equals:
            raise argparse.ArgumentTypeError(f"'{setting}' is none of {', '.join(f'{name}=N' for name in _OPTIONS)}")
        try:
            found[name] = _duration(value) if name == "timeout" else _OPTIONS[name](value)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{name} takes a number, not '{value}'") from None
    return found


def _task_arguments(parser: Parser) -> None:
    parser.add_argument("-o", "--options", type=_extra_options, default={}, metavar="LIST", help="rank=N,timeout=N,...")
    parser.add_argument("-E", "--preserve-env", action="store_true", help="run it in the environment of this command")
    parser.add_argument("-d", "--working-dir", metavar="DIR", help="run it in this directory, not in the broker's")


def _repeated_arguments(parser: Parser, *name_flags: str) -> None:
    _task_arguments(parser)
    parser.add_argument(*name_flags, dest="name", metavar="STRING", help="name of the entry (default: the first word)")
    parser.add_argument("-c", "--count", type=int, default=0, metavar="N", help="stop after N runs")


def _command_argument(parser: Parser) -> None:
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="words are joined by a space")


def _create(args: argparse.Namespace, type: str, trigger: dict[str, Any], line: str, **more: Any) -> dict[str, Any]:
    if not line.strip():
        die("a COMMAND is needed")
    payload = {"type": type, "name": line.split()[0], "command": line, "args": trigger, **args.options, **more}
    if args.preserve_env:
        payload["environ"] = {name: value for name, value in os.environ.items() if name != "FLUX_URI"}
    if args.working_dir:
        payload["cwd"] = os.path.abspath(args.working_dir)
    entry: dict[str, Any] = _request("create", payload)
    return entry


def _create_repeated(args: argparse.Namespace, type: str, trigger: dict[str, Any]) -> int:
    more = {"name": args.name} if args.name else {}
    entry = _create(args, type, trigger, " ".join(args.command), repeat=args.count, **more)
    print(f"{type}: cron-{entry['id']} created")
    return 0


# -- creating entries


def _interval_arguments(parser: Parser) -> None:
    parser.add_argument("-a", "--after", type=_duration, metavar="TIME", help="run the first time after TIME")
    _repeated_arguments(parser, "-n", "-N", "--name")
    parser.add_argument("interval", type=_duration, metavar="INTERVAL")
    _command_argument(parser)


def _interval(args: argparse.Namespace) -> int:
    trigger = {"interval": args.interval}
    if args.after is not None:
        trigger["after"] = args.after
    return _create_repeated(args, "interval", trigger)


def _event_arguments(parser: Parser) -> None:
    parser.add_argument("-n", "--nth", type=int, default=0, metavar="N", help="run after every Nth event")
    parser.add_argument("-a", "--after", type=int, default=0, metavar="N", help="run the first time after N events")
    parser.add_argument("-i", "--min-interval", type=_duration, default=0.0, metavar="T", help="run at most once in T")
    _repeated_arguments(parser, "-N", "--name")
    parser.add_argument("topic", metavar="TOPIC")
    _command_argument(parser)


def _event(args: argparse.Namespace) -> int:
    trigger = {"topic": args.topic, "nth": args.nth, "after": args.after, "min_interval": args.min_interval}
    return _create_repeated(args, "event", trigger)


def _tab_arguments(parser: Parser) -> None:
    _task_arguments(parser)
    parser.add_argument("file", nargs="?", default="-", metavar="FILE", help="default: standard input")


def _tab(args: argparse.Namespace) -> int:
    parsed = [_tab_line(number, line) for number, line in enumerate(_read_lines(args.file), 1)]
    for fields, line in filter(None, parsed):
        entry = _create(args, "datetime", {"second": 0, **fields}, line)
        print(f"tab: cron-{entry['id']} created: {_when(entry)}")
    return 0


def _read_lines(path: str) -> list[str]:
    try:
        with open(0 if path == "-" else path, closefd=path != "-") as file:
            return file.read().splitlines()
    except OSError as exc:
        die(f"{path}: {exc.strerror}")


def _tab_line(number: int, text: str) -> tuple[dict[str, str], str] | None:
    text = text.strip()
    if not text or text.startswith("#"):
        return None
    word, _, rest = text.partition(" ")
    words = f"{_TAB_WORDS.get(word, word)} {rest}".split(None, len(_TAB_FIELDS))
    if len(words) <= len(_TAB_FIELDS):
        die(f"line {number}: a line is minute, hour, day, month (0-11), day of the week and a command: {text}")
    return dict(zip(_TAB_FIELDS, words, strict=False)), words[-1]


def _at_arguments(parser: Parser) -> None:
    _task_arguments(parser)
    parser.add_argument("time", metavar="TIME", help="such as '2030-01-31 12:00', 'tomorrow 6:00' or '+1h'")
    _command_argument(parser)


def _at(args: argparse.Namespace) -> int:
    when = time.localtime(_parse_time(args.time))
    fields = {
        "second": when.tm_sec,
        "minute": when.tm_min,
        "hour": when.tm_hour,
        "mday": when.tm_mday,
        "month": when.tm_mon - 1,
        "year": when.tm_year - 1900,
    }
    entry = _create(args, "datetime", fields, " ".join(args.command), repeat=1)
    print(f"at: cron-{entry['id']} created: {_when(entry)}")
    return 0


def _parse_time(text: str) -> float:
    """Seconds since the epoch. What this program does not know, date(1) may."""
    import subprocess

    from flux.util import parse_datetime

    try:
        seconds = parse_datetime(text).timestamp()
    except ValueError:
        result = subprocess.run(["date", "-d", text, "+%s"], capture_output=True, text=True, check=False)
        if result.returncode:
            die(f"'{text}' is no date and time")
        seconds = float(result.stdout)
    if seconds <= time.time():
        die(f"{time.ctime(seconds)} is in the past")
    return seconds


def _when(entry: dict[str, Any]) -> str:
    wakeup = entry["typedata"]["next_wakeup"]
    return f"scheduled in {wakeup - time.time():.3f}s at {time.ctime(wakeup)}"


# -- entries that exist


def _ago(stamp: float) -> str:
    seconds = int(time.time() - stamp)
    for limit, unit, name in ((120, 1, "second"), (7200, 60, "minute"), (172800, 3600, "hour")):
        if seconds < limit:
            count = max(1, seconds // unit)
            return f"{count} {name}{'s' * (count > 1)} ago"
    return f"{seconds // 86400} days ago"


def _status(tasks: list[dict[str, Any]]) -> str:
    if not tasks:
        return "None"
    state, code = tasks[0]["state"], tasks[0].get("code", 0)
    if state == "Failed":
        return "Exec-Error" if code in (126, 127) else f"Failed:rc={code}"
    return "Success" if state == "Exited" else str(state)


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    stats = entry["stats"]
    return {
        **entry,
        "state": "Stopped" if entry["stopped"] else "Active",
        "runs": f"{stats['count']}/{entry['repeat']}" if entry["repeat"] else str(stats["count"]),
        "lastrun": _ago(stats["lastrun"]) if stats["lastrun"] else "None",
        "status": _status(entry["tasks"]),
    }


_COLUMNS = [
    Column("id", align=">"),
    Column("name", "CMD/NAME"),
    Column("state"),
    Column("runs", "#RUNS", align=">"),
    Column("lastrun", align=">"),
    Column("status"),
]


def _list(args: argparse.Namespace) -> int:
    entries = _request("list", {})["entries"]
    print_list(
        _COLUMNS, entries if args.json else [_row(e) for e in entries], json=args.json, header=not args.no_header
    )
    return 0


def _ids_argument(parser: Parser) -> None:
    parser.add_argument("id", type=_entry_id, nargs="+", metavar="ID")


def _entry_id(text: str) -> int:
    number = text.removeprefix("cron-")
    if not number.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is no entry's number; `flux cron list` shows them")
    return int(number)


def _stop(args: argparse.Namespace) -> int:
    for id in args.id:
        _request("stop", {"id": id})
        print(f"Stopped cron-{id}")
    return 0


def _start(args: argparse.Namespace) -> int:
    for id in args.id:
        _request("start", {"id": id})
        print(f"Started cron-{id}")
    return 0


def _delete_arguments(parser: Parser) -> None:
    _ids_argument(parser)
    parser.add_argument("-k", "--kill", action="store_true", help="also end the run that is under way")


def _delete(args: argparse.Namespace) -> int:
    for id in args.id:
        entry = _request("delete", {"id": id, "kill": args.kill})
        print(f"Removed cron-{id}: {entry['name']}")
    return 0


def _dump_arguments(parser: Parser) -> None:
    _ids_argument(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("-k", "--key", metavar="KEY", help="print the value of one key only")
    form.add_argument("--json", action="store_true", help="print the entries as JSON")


def _dump(args: argparse.Namespace) -> int:
    entries = {entry["id"]: entry for entry in _request("list", {})["entries"]}
    missing = [id for id in args.id if id not in entries]
    if missing:
        die(f"cron-{missing[0]}: no such cron entry")
    wanted = [entries[id] for id in args.id]
    if args.json:
        print_json(wanted)
        return 0
    for entry in wanted:
        _print_keys(_flatten(entry), args.key)
    return 0


def _print_keys(values: dict[str, Any], key: str | None) -> None:
    if key is None:
        for name, value in values.items():
            print(f"{name} = {_literal(value)}")
    elif key in values:
        print(_number(values[key]))
    else:
        die(f"there is no key {key}; without --key all are shown")


def _flatten(entry: dict[str, Any]) -> dict[str, Any]:
    """Keys as `stats.count` and `task.1.pid`, the latest task being number 1."""
    flat: dict[str, Any] = {}
    tables = {f"task.{number}": task for number, task in enumerate(entry["tasks"], 1)}
    for name, value in {**entry, **tables}.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{key}": inner for key, inner in value.items()}
        elif name != "tasks":
            flat[name] = value
    return flat


def _literal(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else _number(value)


def _number(value: Any) -> str:
    """A value as scripts read it: whole seconds without a fraction, true and false in small letters."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _sync_arguments(parser: Parser) -> None:
    parser.add_argument("-e", "--epsilon", type=_duration, metavar="DELAY", help="time after the event that is in time")
    parser.add_argument("-d", "--disable", action="store_true", help="wait for no event")
    parser.add_argument("topic", nargs="?", metavar="TOPIC", help="the event to wait for; default: show the setting")


def _sync(args: argparse.Namespace) -> int:
    payload: dict[str, Any] = {"disable": True} if args.disable else {}
    if args.topic:
        payload["topic"] = args.topic
    if args.epsilon is not None:
        payload["sync_epsilon"] = args.epsilon
    now = _request("sync", payload)
    if now.get("sync_disabled"):
        print("sync: sync disabled.")
    else:
        print(f'sync: sync to event "{now["sync_event"]}" epsilon={now["sync_epsilon"]:.3f}s.')
    return 0


def _help_arguments(parser: Parser) -> None:
    parser.add_argument("word", nargs="?", choices=sorted(ACTIONS), metavar="COMMAND")


def _help(args: argparse.Namespace) -> int:
    return command([args.word, "--help"] if args.word else ["--help"])


ACTIONS = {
    "help": Action(_help, "show the options of a COMMAND", _help_arguments),
    "interval": Action(_interval, "run a command at an interval", _interval_arguments),
    "event": Action(_event, "run a command after events", _event_arguments),
    "tab": Action(_tab, "run the commands of a crontab(5)", _tab_arguments),
    "at": Action(_at, "run a command once, at a date and time", _at_arguments),
    "list": Action(_list, "show the entries", add_list_options),
    "stop": Action(_stop, "stop entries", _ids_argument),
    "start": Action(_start, "start stopped entries", _ids_argument),
    "delete": Action(_delete, "remove entries", _delete_arguments),
    "dump": Action(_dump, "show all that is known of entries", _dump_arguments),
    "sync": Action(_sync, "show or set the event that runs wait for", _sync_arguments),
}
