"""`flux dmesg`: print the broker's log buffer (flux-dmesg(1); entries are RFC 5424 text)."""

from __future__ import annotations

import re
import sys
from errno import ENODATA
from typing import TYPE_CHECKING, NamedTuple

from flux.errors import FluxError
from flux_cli.common import Parser, open_flux

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable
    from datetime import datetime

    from flux.core.handle import Flux
    from flux.rpc import RPC

LEVELS = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
_ENTRY = re.compile(r"<(\d+)>1 (\S+) (\S+) (\S+) (\S+) \S+ \S+ ?(.*)", re.DOTALL)

_RESET = "\033[0m"
_TIME_COLOR = "\033[32m"
_NAME_COLOR = "\033[33m"
_MINUTE_COLOR = "\033[1m\033[32m"
_LEVEL_COLORS = {**dict.fromkeys((0, 1, 2), "\033[1m\033[31m"), 3: "\033[31m", 4: "\033[1m", 7: "\033[34m"}


class LogEntry(NamedTuple):
    """One entry of the log.

    Attributes:
        time: RFC 3339, UTC.
        rank: of the broker that logged it.
        level: syslog severity, 0 to 7.
    """

    level: int
    time: str
    rank: str
    name: str
    text: str


def parse_entry(line: str) -> LogEntry:
    """The parts of an entry; a line in another form becomes the text of a notice without a name."""
    match = _ENTRY.fullmatch(line)
    if match is None:
        return LogEntry(5, "-", "?", "-", line)
    level = min(int(match[1]) >> 3, len(LEVELS) - 1)
    return LogEntry(level, match[2], match[3], match[4], match[6])


def command(argv: list[str]) -> int:
    parser = _parser()
    args = parser.parse_args(argv)
    if args.delta and not args.human:
        parser.error("--delta goes with --human")
    if args.new and (args.clear or args.read_clear):
        parser.error("--new waits for entries, which --clear and --read-clear do not")
    color = args.color == "always" or (args.color == "auto" and sys.stdout.isatty())
    show = _format(args, color)
    with open_flux() as handle:
        if args.clear:
            handle.rpc("log.clear").get()
            return 0
        _print_entries(handle, args.follow or args.new, args.new, show)
        if args.read_clear:
            handle.rpc("log.clear").get()
    return 0


def _format(args: Namespace, color: bool) -> Callable[[LogEntry], str]:
    if args.json:
        return json_line
    return HumanFormat(color, args.delta) if args.human else PlainFormat(color)


def json_line(entry: LogEntry) -> str:
    """An entry as a JSON object of one line."""
    import json

    return json.dumps({**entry._asdict(), "level": LEVELS[entry.level]})


def _parser() -> Parser:
    parser = Parser("dmesg", "Print the log of the broker.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("-C", "--clear", action="store_true", help="clear the log instead")
    what.add_argument("-c", "--read-clear", action="store_true", help="clear the log when it is printed")
    what.add_argument("-f", "--follow", action="store_true", help="go on with new entries as they come")
    parser.add_argument("-n", "--new", action="store_true", help="only new entries as they come")
    parser.add_argument(
        "-H", "--human", action="store_true", help="show times as seconds since the minute's first entry"
    )
    parser.add_argument("-d", "--delta", action="store_true", help="with --human: seconds since the entry before")
    parser.add_argument("--json", action="store_true", help="print each entry as a JSON object on a line")
    parser.add_optional_value(
        "--color",
        "-L",
        const="always",
        default="auto",
        choices=("always", "never", "auto"),
        help="use colors; auto: on a terminal",
    )
    return parser


def _print_entries(handle: Flux, follow: bool, new: bool, show: Callable[[LogEntry], str]) -> None:
    from flux.message import FLAG_STREAMING

    entries = handle.rpc("log.dmesg", {"follow": follow, "nobacklog": new}, flags=FLAG_STREAMING)
    if follow:
        _end_with_reader(handle)
    entries.then(_print_entry, show, follow)
    handle.reactor_run()


def _print_entry(entries: RPC, show: Callable[[LogEntry], str], flush: bool) -> None:
    try:
        print(show(parse_entry(entries.get_str() or "")), flush=flush)
    except FluxError as exc:
        if exc.errno != ENODATA:
            raise
        return
    entries.reset()


def _end_with_reader(handle: Flux) -> None:
    """Stop when whoever read our output is gone, rather than with the next entry, which may be long in coming."""

    def gone(_events: int) -> None:
        raise BrokenPipeError

    try:
        handle.get_reactor().add_fd(1, 0, gone)
    except OSError:
        return  # a regular file, which has no reader


class PlainFormat:
    """TIME NAME.LEVEL[RANK]: TEXT."""

    def __init__(self, color: bool) -> None:
        self.color = color

    def __call__(self, entry: LogEntry) -> str:
        return _line(entry, entry.time, self.color)


class HumanFormat:
    """As dmesg(1) -H: the minute when it changes, else the seconds since the first entry of the minute.

    Args:
        delta: seconds since the entry before instead.
    """

    def __init__(self, color: bool, delta: bool = False) -> None:
        self.color = color
        self.delta = delta
        self.minute = ""
        self.since: datetime | None = None

    def __call__(self, entry: LogEntry) -> str:
        when, color = self._when(entry.time)
        return _line(entry, f"[{when}]", self.color, color)

    def _when(self, text: str) -> tuple[str, str]:
        from datetime import datetime

        try:
            now = datetime.fromisoformat(text).astimezone()
        except ValueError:
            return text, _TIME_COLOR
        minute = f"{now:%b%d %H:%M}"
        if self.since is None or minute != self.minute:
            self.minute, self.since = minute, now
            return minute, _MINUTE_COLOR
        passed = (now - self.since).total_seconds()
        if self.delta:
            self.since = now
        return f"{passed:+11.6f}", _TIME_COLOR


def _line(entry: LogEntry, when: str, color: bool, time_color: str = _TIME_COLOR) -> str:
    origin = f"{entry.name}.{LEVELS[entry.level]}[{entry.rank}]"
    if not color:
        return f"{when} {origin}: {entry.text}"
    level = _LEVEL_COLORS.get(entry.level, "")
    text = f"{level}{entry.text}{_RESET}" if level else entry.text
    return f"{time_color}{when}{_RESET} {_NAME_COLOR}{origin}{_RESET}: {text}"
