"""Where log entries go besides the ring buffer: standard error, a file, syslog(3) (log-* attributes)."""

from __future__ import annotations

import errno
import os
import sys
from typing import Protocol

from flux.errors import FluxError
from flux_plugins.log.ring import SEVERITIES, Entry

__all__ = ["FileSink", "Sink", "SyslogSink", "print_entry"]


class Sink(Protocol):
    """Takes log entries."""

    def write(self, entry: Entry) -> None: ...

    def close(self) -> None: ...


def print_entry(entry: Entry, numbered: bool) -> None:
    """Print an entry on standard error; numbered: with the level in front, as systemd reads it."""
    prefix = f"<{entry.severity}>" if numbered else ""
    # one write for the whole line: brokers of an instance share this stream, and print() may write the newline apart
    sys.stderr.write(f"{prefix}{entry.for_stderr()}\n")
    sys.stderr.flush()


class FileSink:
    """Appends entries to a file, one line each. FluxError when it cannot be opened."""

    def __init__(self, path: str) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            self._fd = os.open(path, flags, 0o644)
        except OSError as exc:
            raise FluxError(exc.errno or errno.EIO, f"attribute log-filename: {path}: {exc.strerror}") from None

    def write(self, entry: Entry) -> None:
        os.write(self._fd, f"{entry.for_stderr()}\n".encode(errors="replace"))

    def close(self) -> None:
        os.close(self._fd)


class SyslogSink:
    """Hands entries up to a level to syslog(3), as USER@PLACE APP.LEVEL[RANK]: TEXT.

    Args:
        place: which of the user's instances, by its jobid-path.
    """

    def __init__(self, level: int, place: str) -> None:
        import pwd
        import syslog

        try:
            user = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            user = str(os.getuid())
        self._instance = f"{user}@{place}"
        self._level = level
        self._syslog = syslog
        syslog.openlog("flux-broker", syslog.LOG_PID, syslog.LOG_USER)

    def write(self, entry: Entry) -> None:
        if entry.severity <= self._level:
            origin = f"{entry.appname}.{SEVERITIES[entry.severity]}[{entry.rank}]"
            text = f"{self._instance} {origin}: {entry.message}"
            self._syslog.syslog(entry.severity, text.replace("\0", ""))

    def close(self) -> None:
        self._syslog.closelog()
