"""The events of a job's output eventlog, by kind (RFC 24; manual page ``flux.job.output``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flux.idset import IDset
from flux.job.event import EventLogEvent
from flux.job.output import log_line
from flux.stdio import decode_io

__all__ = [
    "JobExceptionEvent",
    "LogEvent",
    "OutputEvent",
    "OutputHeaderEvent",
    "RedirectEvent",
    "Taskset",
    "output_event",
]

Entry = str | bytes | Mapping[str, Any] | EventLogEvent


class Taskset:
    """Ranks of tasks: an idset, or all ("all" or "*").

    Attributes:
        all: True for all. ids: the idset, None for all.
    """

    def __init__(self, tasks: Taskset | IDset | str | int) -> None:
        text = str(tasks)
        self.all = text in ("all", "*")
        self.ids = None if self.all else IDset(text)

    def intersect(self, tasks: Taskset | IDset | str | int) -> Taskset:
        """The ranks that are in both."""
        other = Taskset(tasks)
        if self.ids is None:
            return other
        return self if other.ids is None else Taskset(self.ids & other.ids)

    def __bool__(self) -> bool:
        return self.all or bool(self.ids)

    def __str__(self) -> str:
        return "all" if self.all else str(self.ids)


class _Event(EventLogEvent):
    def __init__(self, entry: Entry, labelio: bool = False) -> None:
        super().__init__(dict(entry) if isinstance(entry, EventLogEvent) else entry)
        self._read(self.context, labelio)

    def _read(self, context: dict[str, Any], labelio: bool) -> None:
        """Take the context apart."""


class OutputHeaderEvent(_Event):
    """The first event: version, and by stream the number of tasks (stdout_count) and encoding (stdout_encoding)."""

    def _read(self, context: dict[str, Any], labelio: bool) -> None:
        self.version: int = context["version"]
        count, encoding = context.get("count") or {}, context.get("encoding") or {}
        self.stdout_count, self.stderr_count = count.get("stdout"), count.get("stderr")
        self.stdout_encoding, self.stderr_encoding = encoding.get("stdout"), encoding.get("stderr")


class OutputEvent(_Event):
    """What tasks have written.

    Attributes:
        stream: "stdout" or "stderr". rank: Taskset. eof: True when the stream ends here.
        data: text, bytes that are none as surrogates; None when there is none.
    """

    def _read(self, context: dict[str, Any], labelio: bool) -> None:
        chunk = decode_io(context)
        self.stream, self.rank, self.eof = chunk.stream, Taskset(chunk.rank), chunk.eof
        text = chunk.data.decode(errors="surrogateescape")
        if labelio:
            text = "".join(f"{self.rank}: {line}\n" for line in text.splitlines())
        self.data = text or None

    def render(self) -> str:
        """The text."""
        return self.data or ""


class RedirectEvent(_Event):
    """The output of tasks goes to a file: stream, rank (Taskset), path."""

    def _read(self, context: dict[str, Any], labelio: bool) -> None:
        self.stream: str = context["stream"]
        self.rank = Taskset(context["rank"])
        self.path: str = context.get("path", "")

    def render(self) -> str:
        """A line that says so."""
        return f"{self.rank}: {self.stream} redirected to {self.path}"


class LogEvent(_Event):
    """A line of a shell's log: rank (Taskset, of the shell), level (0 to 7), message, component, file, line."""

    def _read(self, context: dict[str, Any], labelio: bool) -> None:
        self.rank = Taskset(context.get("rank", 0))
        self.level: int = context.get("level", 5)
        self.message: str = context.get("message", "")
        self.component: str | None = context.get("component")
        self.file: str | None = context.get("file")
        self.line: int = context.get("line", -1)

    def render(self, include_file_and_line: bool = False) -> str:
        """The line; with the place in the shell's source that it comes from, where there is one."""
        if include_file_and_line and self.file:
            return log_line({**self.context, "message": f"{self.file}:{self.line}: {self.message}"})
        return log_line(self.context)


class JobExceptionEvent(_Event):
    """An exception of the job: exc_type, severity (0 is fatal), note."""

    def _read(self, context: dict[str, Any], labelio: bool) -> None:
        self.exc_type: str = context.get("type", "")
        self.severity: int = context.get("severity", 0)
        self.note: str = context.get("note", "")

    def render(self) -> str:
        """A line that says so."""
        return f"job.exception: type={self.exc_type} severity={self.severity} {self.note}".rstrip()


_KINDS: dict[str, Callable[..., EventLogEvent]] = {
    "header": OutputHeaderEvent,
    "data": OutputEvent,
    "redirect": RedirectEvent,
    "log": LogEvent,
    "exception": JobExceptionEvent,
}


def output_event(entry: Entry, labelio: bool = False) -> EventLogEvent:
    """The event of its kind; of a kind that RFC 24 does not have, a plain one.

    Args:
        entry: a line of the eventlog, what it decodes to, or an event. labelio: begin lines with the tasks' ranks.
    """
    event = entry if isinstance(entry, EventLogEvent) else EventLogEvent(entry)
    kind = _KINDS.get(event.name)
    return event if kind is None else kind(event, labelio)
