"""Lines for traced messages (RFC 5 `module.trace`, `overlay.trace`): time, direction, who, type, topic, size."""

from __future__ import annotations

import argparse
import errno
import sys

from flux_cli.common import Parser, die, open_flux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Formatter", "add_color", "add_trace_options", "colored", "trace", "typemask"]

_TYPES = {"request": 1, "response": 2, "event": 4, "control": 8}
_MARKS = {1: ">", 2: "<", 4: "e", 8: "c"}
_COLORS = {1: "\033[01;34m", 2: "\033[36m", 4: "\033[33m", 8: "\033[35m"}
_TIME_COLOR, _MINUTE_COLOR, _FAILED_COLOR, _RESET = "\033[32m", "\033[1m\033[32m", "\033[01;31m", "\033[0m"


def add_color(parser: Parser) -> None:
    choices = ("always", "never", "auto")
    parser.add_optional_value(
        "-L", "--color", metavar="WHEN", const="always", default="auto", choices=choices, help="use colors"
    )


def colored(when: str) -> bool:
    return when == "always" or (when == "auto" and sys.stdout.isatty())


def add_trace_options(parser: Parser) -> None:
    """The options of `flux module trace` and `flux overlay trace`."""
    add = parser.add_argument
    add("-f", "--full", action="store_true", help="show payloads")
    add("-t", "--type", metavar="TYPE,...", default="", help="types: request, response, event, control")
    add_color(parser)
    add("-H", "--human", action="store_true", help="show times for people")
    add("-d", "--delta", action="store_true", help="with --human: times between messages")


def trace(topic: str, args: argparse.Namespace, wish: dict[str, Any], width: int = 0) -> int:
    """Print messages until interrupted.

    Args:
        topic: of the streaming request. wish: its payload beyond what the options say. width: of the names of modules.
    """
    from flux.message import FLAG_STREAMING

    if args.delta and not args.human:
        die("--delta is for use with --human")
    formatter = Formatter(colored(args.color), args.human, args.delta, width)
    payload = {"typemask": typemask(args.type), "full": args.full, **wish}
    with open_flux() as handle:
        stream = handle.rpc(topic, payload, flags=FLAG_STREAMING)
        while True:
            print(formatter.line(stream.get()), flush=True)
            stream.reset()


def typemask(names: str) -> int:
    """Message types named in a list separated by commas; "" for all."""
    mask = 0
    for name in filter(None, names.split(",")):
        if name not in _TYPES:
            die(f"there is no message type '{name}': it is one of {', '.join(_TYPES)}")
        mask |= _TYPES[name]
    return mask or 15


class Formatter:
    """Makes lines of trace entries.

    Args:
        human: the minute when it changes, else the seconds of the minute; delta: since the last entry.
        width: that the names of modules are filled up to.
    """

    def __init__(self, color: bool, human: bool, delta: bool, width: int = 0) -> None:
        self._color, self._human, self._delta, self._width = color, human, delta, width
        self._minute = ""
        self._since = 0.0

    def line(self, entry: dict[str, Any]) -> str:
        """One line, and after it the payload or the error text when the entry has one."""
        (when, time_color), text = self._when(entry["timestamp"]), self._text(entry)
        if self._color:
            color = _FAILED_COLOR if entry["errnum"] else _COLORS.get(entry["type"], "")
            when, text = f"{time_color}{when}{_RESET}", f"{color}{text}{_RESET}"
        return f"{when}{'  ' if self._human else ' '}{text}"

    def _when(self, timestamp: float) -> tuple[str, str]:
        from datetime import datetime

        moment = datetime.fromtimestamp(timestamp)
        if not self._human:
            return moment.isoformat(timespec="milliseconds"), _TIME_COLOR
        minute = f"{moment:%b%d %H:%M}"
        if minute != self._minute:
            self._minute = minute
            self._since = timestamp if self._delta else moment.replace(second=0, microsecond=0).timestamp()
            return f"[{minute}]", _MINUTE_COLOR
        offset = timestamp - self._since
        if self._delta:
            self._since = timestamp
        return f"[{offset:+11.6f}]", _TIME_COLOR

    def _text(self, entry: dict[str, Any]) -> str:
        if entry["name"] is not None:
            who = f"{entry['name']:>{self._width}} {entry['prefix']}"
        else:
            who = f"{entry['prefix']} {'*' if entry['rank'] < 0 else entry['rank']}"
        text = f"{who} {_MARKS.get(entry['type'], '?')} {entry['topic']} [{_size(entry['payload_size'])}]"
        if entry["type"] == _TYPES["response"]:
            text += f" {_errno_name(entry['errnum'])}"
        if entry["errstr"]:
            return f"{text}\n{entry['errstr']}"
        if entry["payload"] is None:
            return text
        import json

        return f"{text}\n{json.dumps(entry['payload'], indent=2)}"


def _errno_name(errnum: int) -> str:
    return errno.errorcode.get(errnum, f"errno {errnum}") if errnum else "success"


def _size(size: float) -> str:
    """Bytes, with a unit from 1024 of them on."""
    units = iter(" KMGT")
    unit = next(units)
    while size >= 1024:
        size /= 1024
        unit = next(units)
    return f"{size:.8g}{unit.strip()}"
