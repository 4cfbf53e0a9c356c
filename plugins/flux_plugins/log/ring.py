"""Log entries as text (RFC 5424 shape, stock Flux's priority encoding) and the ring buffer that holds them."""

from __future__ import annotations

import time
from collections import deque
from datetime import datetime
from typing import NamedTuple

__all__ = ["Entry", "Ring", "parse_entry"]

SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")


class Entry(NamedTuple):
    """One log line: severity 0 (emergency) to 7 (debug), broker rank, and the text as it came."""

    severity: int
    stamp: str
    rank: str
    appname: str
    message: str
    text: str

    def for_stderr(self) -> str:
        """As the broker prints it: local time, app.level[rank]: message."""
        when = _local_time(self.stamp)
        return f"{when} {self.appname}.{SEVERITIES[self.severity]}[{self.rank}]: {self.message}"


def parse_entry(text: str) -> Entry:
    """Split "<PRI>1 TIME RANK APP PROCID - - MESSAGE". ValueError when it does not look like that."""
    head, sep, rest = text.partition(" ")
    priority, close, version = head.partition(">")
    fields = rest.split(" ", 6)
    if not sep or not close or priority[:1] != "<" or version != "1" or len(fields) < 6:
        raise ValueError(f"not a log entry: {text[:80]!r}")
    severity = int(priority[1:]) >> 3
    if not 0 <= severity <= 7:
        raise ValueError(f"log priority {priority[1:]} is out of range")
    message = fields[6] if len(fields) == 7 else ""
    return Entry(severity, fields[0], fields[1], fields[2], message, text)


def _local_time(stamp: str) -> str:
    try:
        when = datetime.fromisoformat(stamp.replace("Z", "+00:00")).astimezone()
    except ValueError:
        when = datetime.fromtimestamp(time.time()).astimezone()
    return when.strftime("%b %d %H:%M:%S.%f %Z %Y")


class Ring:
    """The last entries.

    Args:
        size: how many are kept.
    """

    def __init__(self, size: int) -> None:
        self._entries: deque[Entry] = deque(maxlen=size)
        self.count = 0

    def append(self, entry: Entry) -> None:
        self._entries.append(entry)
        self.count += 1

    def clear(self) -> None:
        self._entries.clear()

    def entries(self) -> list[Entry]:
        """Oldest first."""
        return list(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
