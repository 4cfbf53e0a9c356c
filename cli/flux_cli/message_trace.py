"""Lines for traced messages (RFC 5 `module.trace`, `overlay.trace`): time, direction, who, type, topic, size."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flux_cli.common import die

__all__ = ["Formatter", "typemask"]

_TYPES = {"request": 1, "response": 2, "event": 4, "control": 8}
_MARKS = {1: ">", 2: "<", 4: "e", 8: "c"}
_COLORS = {1: "\033[01;34m", 2: "\033[36m", 4: "\033[33m", 8: "\033[35m"}
_TIME_COLOR, _RESET = "\033[32m", "\033[0m"


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
        human: the minute when it changes, else the seconds since its first entry; delta: since the last one.
    """

    def __init__(self, color: bool, human: bool, delta: bool) -> None:
        self._color, self._human, self._delta = color, human, delta
        self._minute = ""
        self._since = 0.0

    def line(self, entry: dict[str, Any]) -> str:
        when, text = self._when(entry["timestamp"]), _text(entry)
        if self._color:
            when, text = f"{_TIME_COLOR}{when}{_RESET}", f"{_COLORS.get(entry['type'], '')}{text}{_RESET}"
        if entry["payload"] is None:
            return f"{when} {text}"
        import json

        return f"{when} {text}\n{json.dumps(entry['payload'], indent=2)}"

    def _when(self, timestamp: float) -> str:
        moment = datetime.fromtimestamp(timestamp)
        if not self._human:
            return moment.isoformat(timespec="milliseconds")
        minute = f"{moment:%b%d %H:%M}"
        if minute != self._minute:
            self._minute, self._since = minute, timestamp
            return f"[{minute}] "
        offset = timestamp - self._since
        if self._delta:
            self._since = timestamp
        return f"[{offset:+11.6f}] "


def _text(entry: dict[str, Any]) -> str:
    who = entry["name"] or ("*" if entry["rank"] < 0 else entry["rank"])
    text = f"{entry['prefix']} {who} {_MARKS.get(entry['type'], '?')} {entry['topic']} [{entry['payload_size']}]"
    if entry["type"] != _TYPES["response"]:
        return text
    return f"{text} {entry['errstr'] if entry['errnum'] else 'success'}"
