"""Records to lines, with structlog: what the modules of a broker find in `self.log`.

A record is bound with rank, module and, while a request or event is worked on, its topic. Rank and module go into the
header of the line (RFC 5424 HOSTNAME and APP-NAME), everything else is text.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from typing import Any

from flux.core.base import Handle, log_entry
from flux.message import FLAG_NORESPONSE, NODEID_ANY, REQUEST, Message
from flux.module.log import LEVELS, render

# structlog imports rich where it finds it, for a console that a broker does not have: 90 modules, 50 ms
_hidden = "rich" not in sys.modules
if _hidden:
    sys.modules["rich"] = None  # type: ignore[assignment]
try:
    import structlog
finally:
    if _hidden:
        del sys.modules["rich"]

__all__ = ["RecordLogger", "make_logger"]

Record = MutableMapping[str, Any]


class RecordLogger(structlog.BoundLoggerBase):
    """A bound logger with the severities of syslog(3) (`flux.module.log.Logger`)."""

    def debug(self, event: str, **context: Any) -> None:
        self._proxy_to_logger("debug", event, **context)

    def info(self, event: str, **context: Any) -> None:
        self._proxy_to_logger("info", event, **context)

    def notice(self, event: str, **context: Any) -> None:
        self._proxy_to_logger("notice", event, **context)

    def warning(self, event: str, **context: Any) -> None:
        self._proxy_to_logger("warning", event, **context)

    def error(self, event: str, **context: Any) -> None:
        self._proxy_to_logger("err", event, **context)

    def exception(self, event: str, exc: BaseException, **context: Any) -> None:
        self._proxy_to_logger("err", event, exc_info=exc, **context)

    def log(self, level: int, event: str, **context: Any) -> None:
        self._proxy_to_logger(LEVELS[level], event, **context)


class LogService:
    """Where records end: the log service, which takes a line of theirs after the other (`log.append`)."""

    def __init__(self, flux: Handle) -> None:
        self.flux = flux

    def append(self, level: int, rank: str, module: str, text: str) -> None:
        for line in text.splitlines() or [""]:
            entry = log_entry(level, rank, module, line)
            self.flux.send_message(
                Message(REQUEST, "log.append", entry, flags=FLAG_NORESPONSE, aux=NODEID_ANY, routes=[])
            )

    def __getattr__(self, name: str) -> Any:
        if name not in LEVELS:
            raise AttributeError(name)
        level = LEVELS.index(name)

        def append(rank: str, module: str, text: str) -> None:
            self.append(level, rank, module, text)

        self.__dict__[name] = append  # looked up once
        return append


def add_topic(service: LogService, _name: str, record: Record) -> Record:
    """The topic of the request or event that is worked on; a coroutine's task is named after it."""
    topic = service.flux.log_topic or _topic_of_task(record["module"])
    if topic and topic not in record["event"]:
        record.setdefault("topic", topic)
    return record


def _topic_of_task(module: str) -> str:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return ""
    owner, _, topic = task.get_name().partition(":") if task else ("", "", "")
    return topic if owner == module and "." in topic else ""


def split_traceback(_service: LogService, _name: str, record: Record) -> Record:
    """The traceback of `exc_info` as lines of its own, after the event."""
    error = record.pop("exc_info", None)
    if error is not None:
        record["traceback"] = "".join(traceback.format_exception(error)).rstrip()
    return record


def to_line(_service: LogService, _name: str, record: Record) -> tuple[tuple[str, str, str], dict[str, Any]]:
    """The arguments of a method of `LogService`: rank, module and text."""
    event, trace = record.pop("event"), record.pop("traceback", "")
    text = render(event, record)
    return (record["rank"], record["module"], f"{text}\n{trace}" if trace else text), {}


PROCESSORS = (add_topic, split_traceback, to_line)


def make_logger(flux: Handle, context: Mapping[str, Any]) -> RecordLogger:
    """A logger whose records go to the log service by way of flux (`flux.module.log.Maker`)."""
    return RecordLogger(LogService(flux), [*PROCESSORS], dict(context))
