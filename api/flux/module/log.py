"""A module's log: lines in the instance's log service, named after the module (flux_log(3)).

Modules log records: a text and key=value context. What makes lines of them is the business of whoever gives the log
service: `install` takes its maker of loggers. A process that has none gets `PlainLogger`.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from flux.core.base import Handle

__all__ = ["LEVELS", "Logger", "PlainLogger", "install", "make_logger", "render"]

LEVELS = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
"""Names of the severities of syslog(3), 0 to 7."""

_ERR, _WARNING, _NOTICE, _INFO, _DEBUG = 3, 4, 5, 6, 7


class Logger(Protocol):
    """What a module finds in `self.log`."""

    def debug(self, event: str, **context: Any) -> None: ...

    def info(self, event: str, **context: Any) -> None: ...

    def notice(self, event: str, **context: Any) -> None: ...

    def warning(self, event: str, **context: Any) -> None: ...

    def error(self, event: str, **context: Any) -> None: ...

    def exception(self, event: str, exc: BaseException, **context: Any) -> None:
        """An error with its traceback, one log line for each line of it."""

    def log(self, level: int, event: str, **context: Any) -> None:
        """Log at a severity of syslog(3), 0 to 7."""

    def bind(self, **context: Any) -> Logger:
        """A logger that adds this context to each record."""


Maker = Callable[[Handle, Mapping[str, Any]], Logger]
"""Makes a logger from the handle that lines are sent by and the context to begin with: rank and module."""


class PlainLogger:
    """Records become lines as they are.

    Args:
        context: added to each record.
    """

    def __init__(self, flux: Handle, context: Mapping[str, Any]) -> None:
        self._flux = flux
        self._context = context

    def debug(self, event: str, **context: Any) -> None:
        self.log(_DEBUG, event, **context)

    def info(self, event: str, **context: Any) -> None:
        self.log(_INFO, event, **context)

    def notice(self, event: str, **context: Any) -> None:
        self.log(_NOTICE, event, **context)

    def warning(self, event: str, **context: Any) -> None:
        self.log(_WARNING, event, **context)

    def error(self, event: str, **context: Any) -> None:
        self.log(_ERR, event, **context)

    def exception(self, event: str, exc: BaseException, **context: Any) -> None:
        self.log(_ERR, event, **context)
        self._flux.log(_ERR, "".join(traceback.format_exception(exc)).rstrip())

    def log(self, level: int, event: str, **context: Any) -> None:
        self._flux.log(level, render(event, {**self._context, **context}))

    def bind(self, **context: Any) -> PlainLogger:
        return PlainLogger(self._flux, {**self._context, **context})


def render(event: str, context: Mapping[str, Any]) -> str:
    """A record as text: the event, then key=value; rank and module are left out, each line of the log has them."""
    shown = [f" {key}={_quoted(value)}" for key, value in context.items() if key not in ("rank", "module")]
    return event + "".join(shown)


def _quoted(value: Any) -> str:
    plain = str(value)
    return plain if plain.isprintable() and plain and not {" ", "=", '"'} & {*plain} else repr(value)


_make: Maker = PlainLogger


def install(make: Maker) -> None:
    """Let the modules of this process that start from now on log through what make gives."""
    global _make
    _make = make


def make_logger(flux: Handle, module: str) -> Logger:
    """The logger of a module of this process."""
    return _make(flux, {"rank": flux.attr_cache.get("rank", "0"), "module": module})
