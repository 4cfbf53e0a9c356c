"""Read a job's output eventlog (RFC 24). Pure: events in, chunks of streams out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from flux.stdio import decode_io

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.job.event import EventLogEvent

__all__ = ["OutputReader", "log_line"]

_LEVELS = ("FATAL", "FATAL", "FATAL", "ERROR", "WARN", "", "DEBUG", "TRACE")


def log_line(context: Mapping[str, Any]) -> str:
    """A line of a shell's log as people read it, from the context of its event."""
    level = _LEVELS[max(0, min(int(context.get("level", 5)), 7))]
    component = f"{context['component']}: " if context.get("component") else ""
    text = f"{level}: " if level else ""
    return f"flux-shell[{context.get('rank', 0)}]: {text}{component}{context.get('message', '')}"


class OutputReader:
    """Takes the events of `guest.output` in order.

    Args:
        on_data: called with (stream, ranks, data) for each chunk; ranks as an idset string.
        on_redirect: called with (stream, ranks, path) when output goes to a file instead.
        on_log: called with the event of each line of the shell's log.

    Attributes:
        events: number of events so far.
    """

    def __init__(
        self,
        on_data: Callable[[str, str, bytes], Any],
        on_redirect: Callable[[str, str, str], Any],
        on_log: Callable[[EventLogEvent], Any],
    ) -> None:
        self._on_data = on_data
        self._on_redirect = on_redirect
        self._on_log = on_log
        self.events = 0

    def on_event(self, event: EventLogEvent) -> None:
        """Take the next event. ProtocolError when it is malformed."""
        self.events += 1
        if event.name == "data":
            self._data(event.context)
        elif event.name == "redirect":
            self._redirect(event.context)
        elif event.name == "log":
            self._on_log(event)

    def _data(self, context: dict[str, Any]) -> None:
        chunk = decode_io(context)
        if chunk.data:
            self._on_data(chunk.stream, chunk.rank, chunk.data)

    def _redirect(self, context: dict[str, Any]) -> None:
        self._on_redirect(context["stream"], context["rank"], context.get("path", ""))


def expand(ranks: str) -> Iterator[int]:
    """The ranks of an idset string, without the brackets it may have."""
    if ranks.isdecimal():
        return iter((int(ranks),))
    from flux.idset import IDset

    return iter(IDset(ranks))


_ELSEWHERE = {
    "output_events": "JobExceptionEvent LogEvent OutputEvent OutputHeaderEvent RedirectEvent Taskset",
    "output_watch": "JobOutput JobOutputEventWatch JobOutputWatch JobOutputWatchLines job_output output_event_watch"
    " output_event_watch_async output_watch output_watch_async output_watch_lines output_watch_lines_async",
}


LOG_QUIET, LOG_FATAL, LOG_ERROR, LOG_WARN, LOG_NOTICE, LOG_DEBUG, LOG_TRACE = -1, 0, 3, 4, 5, 6, 7
"""Levels of the shell's log."""


def __getattr__(name: str) -> Any:
    """What programs look for here and `flux run` does not need."""
    from importlib import import_module

    for module, names in _ELSEWHERE.items():
        if name in names.split():
            return getattr(import_module(f"flux.job.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
