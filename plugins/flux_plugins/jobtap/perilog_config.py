"""The configuration of `perilog`: `[job-manager.prolog]`, `[job-manager.epilog]` and `[job-manager.perilog]`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from flux.hooks.jobtap import reject
from flux.util import parse_fsd

__all__ = ["PerilogConfig", "Procedure", "read_config"]

_KEYS = ("command", "per-rank", "timeout", "kill-timeout", "cancel-on-exception", "exit-on-first-error")


class Procedure(NamedTuple):
    """A prolog or epilog.

    Attributes:
        name: "prolog" or "epilog". timeout: seconds, 0.0 for none. kill_timeout: from SIGTERM to giving up.
    """

    name: str
    command: list[str]
    per_rank: bool
    timeout: float
    kill_timeout: float
    cancel_on_exception: bool

    def describe(self) -> dict[str, Any]:
        """The configuration as JSON."""
        return {
            "command": self.command,
            "per_rank": self.per_rank,
            "cancel_on_exception": self.cancel_on_exception,
            "timeout": self.timeout,
            "kill-timeout": self.kill_timeout,
        }


class PerilogConfig(NamedTuple):
    """prolog, epilog: None when there is none. log_ignore: output that is not logged."""

    prolog: Procedure | None = None
    epilog: Procedure | None = None
    log_ignore: list[re.Pattern[str]] = []

    def describe(self) -> dict[str, Any]:
        """The configuration as JSON."""
        procedures = [procedure for procedure in (self.prolog, self.epilog) if procedure is not None]
        return {procedure.name: procedure.describe() for procedure in procedures} | {
            "log-ignore": [pattern.pattern for pattern in self.log_ignore]
        }


def read_config(conf: Mapping[str, Any]) -> PerilogConfig:
    """The three tables of a configuration. Rejects what is wrong in them."""
    tables = conf.get("job-manager") or {}
    imp = (conf.get("exec") or {}).get("imp")
    prolog, epilog = (_procedure(name, tables.get(name), imp) for name in ("prolog", "epilog"))
    return PerilogConfig(prolog, epilog, _log_ignore(tables.get("perilog") or {}))


def _procedure(name: str, table: Any, imp: str | None) -> Procedure | None:
    if table is None:
        return None
    where = f"job-manager.{name}"
    if not isinstance(table, Mapping):
        reject(f"{where} must be a table")
    unknown = table.keys() - set(_KEYS)
    if unknown:
        reject(f"{where}: unknown key {min(unknown)}: it takes {', '.join(_KEYS)}")
    is_prolog = name == "prolog"
    return Procedure(
        name,
        _command(where, table.get("command"), [imp, "run", name] if imp else None),
        _bool(f"{where}.per-rank", table.get("per-rank", False)),
        _timeout(f"{where}.timeout", table.get("timeout", "30m" if is_prolog else "0")),
        _timeout(f"{where}.kill-timeout", table.get("kill-timeout", 60.0)),
        _bool(f"{where}.cancel-on-exception", table.get("cancel-on-exception", is_prolog)),
    )


def _command(where: str, command: Any, default: list[str] | None) -> list[str]:
    if command is None and default is None:
        reject(f"{where}: no command specified and exec.imp not defined")
    command = default if command is None else command
    if not isinstance(command, list) or not command or not all(isinstance(word, str) for word in command):
        reject(f"{where}.command must be an array of strings")
    return list(command)


def _bool(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        reject(f"{key} must be true or false, not {value!r}")
    return value


def _timeout(key: str, value: Any) -> float:
    try:
        seconds = parse_fsd(str(value))
    except ValueError as exc:
        reject(f"{key}: {exc}")
    return 0.0 if math.isinf(seconds) else seconds


def _log_ignore(table: Mapping[str, Any]) -> list[re.Pattern[str]]:
    unknown = table.keys() - {"log-ignore"}
    if unknown:
        reject(f"job-manager.perilog: unknown key {min(unknown)}: it takes log-ignore")
    patterns = table.get("log-ignore", [])
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        reject("job-manager.perilog.log-ignore must be an array of regular expressions")
    try:
        return [re.compile(pattern) for pattern in patterns]
    except re.error as exc:
        reject(f"job-manager.perilog.log-ignore: {exc}")
