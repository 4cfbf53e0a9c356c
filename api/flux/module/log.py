"""A module's log: lines in the instance's log service, named after the module (flux_log(3))."""

from __future__ import annotations

import traceback
from typing import Any

from flux.core.base import Handle

__all__ = ["ModuleLog"]

LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG = 3, 4, 5, 6, 7


class ModuleLog:
    """Logging methods in the manner of structlog: a text, then key=value context."""

    def __init__(self, flux: Handle) -> None:
        self._flux = flux

    def debug(self, event: str, **context: Any) -> None:
        self._log(LOG_DEBUG, event, context)

    def info(self, event: str, **context: Any) -> None:
        self._log(LOG_INFO, event, context)

    def notice(self, event: str, **context: Any) -> None:
        self._log(LOG_NOTICE, event, context)

    def warning(self, event: str, **context: Any) -> None:
        self._log(LOG_WARNING, event, context)

    def error(self, event: str, **context: Any) -> None:
        self._log(LOG_ERR, event, context)

    def exception(self, event: str, exc: BaseException, **context: Any) -> None:
        """An error with its traceback, one log line for each line of it."""
        self._log(LOG_ERR, event, context)
        for line in "".join(traceback.format_exception(exc)).rstrip().splitlines():
            self._flux.log(LOG_ERR, line)

    def _log(self, level: int, event: str, context: dict[str, Any]) -> None:
        extra = "".join(f" {key}={value!r}" for key, value in context.items())
        self._flux.log(level, event + extra)
