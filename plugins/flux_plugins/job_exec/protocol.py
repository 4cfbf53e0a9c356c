"""Requests and settings of the execution service as types."""

from __future__ import annotations

import errno
import signal
from collections.abc import Mapping
from typing import Any

import msgspec

from flux.errors import FluxError
from flux.util import parse_fsd

__all__ = ["Barrier", "CriticalRanks", "Expiration", "Override", "Settings", "read_settings", "seconds"]


class Expiration(msgspec.Struct):
    """expiration: seconds since the epoch, 0 for none."""

    id: int
    expiration: float


class CriticalRanks(msgspec.Struct):
    """ranks: idset of shell ranks without which the job cannot go on."""

    id: int
    ranks: str


class Barrier(msgspec.Struct):
    """rank: of the broker whose shell has got here. round: how often it was here before; not said by all shells."""

    id: int
    rank: int
    round: int | None = None


class Override(msgspec.Struct):
    """A step of a test job, told by the user: "start", or "finish" with a wait status."""

    event: str
    jobid: int
    status: int = 0


class Settings(msgspec.Struct, frozen=True):
    """The `[exec]` table (flux-config-exec(5)).

    Attributes:
        job_shell: program to run on each rank. service: that runs it.
        kill_timeout: seconds from a signal to the next; doubled each time, up to max_kill_timeout.
        max_kill_count: signals after which ranks are given up and drained.
        term_signal, kill_signal: what tasks get first, and after kill_timeout.
        barrier_timeout: seconds that shells wait for each other; 0 for ever.
    """

    job_shell: str = "flux-shell"
    service: str = "rexec"
    kill_timeout: float = 5.0
    max_kill_timeout: float = 300.0
    max_kill_count: int = 8
    term_signal: int = signal.SIGTERM
    kill_signal: int = signal.SIGKILL
    barrier_timeout: float = 1800.0


def read_settings(table: Mapping[str, Any]) -> Settings:
    """The settings of an `[exec]` table. FluxError EINVAL names the key that is wrong."""
    values: dict[str, Any] = {}
    for key, read in _READERS.items():
        if key in table:
            try:
                values[key.replace("-", "_")] = read(table[key])
            except (ValueError, TypeError) as exc:
                raise FluxError(errno.EINVAL, f"[exec] {key}: {exc}") from None
    return Settings(**values)


def seconds(value: Any) -> float:
    """A number of seconds, or a Flux standard duration (RFC 23)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"expected a duration such as 5s, got {value!r:.60}")
    return parse_fsd(value) if isinstance(value, str) else float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"expected a name, got {value!r:.60}")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"expected a number >= 0, got {value!r:.60}")
    return value


def _signal(value: Any) -> int:
    if isinstance(value, int):
        return signal.Signals(value)
    try:
        return signal.Signals["SIG" + str(value).upper().removeprefix("SIG")]
    except KeyError:
        raise ValueError(f"expected a signal such as SIGTERM, got {value!r:.60}") from None


_READERS = {
    "job-shell": _text,
    "service": _text,
    "kill-timeout": seconds,
    "max-kill-timeout": seconds,
    "max-kill-count": _count,
    "term-signal": _signal,
    "kill-signal": _signal,
    "barrier-timeout": seconds,
}
