"""Requests and settings of the execution service as types."""

from __future__ import annotations

import difflib
import errno
import signal
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec

from flux.errors import FluxError
from flux.util import parse_fsd

__all__ = ["Barrier", "CriticalRanks", "Expiration", "Override", "Settings", "TASK_KILLS", "read_settings", "seconds"]


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
        method: how stock Flux starts shells; here there is one way for both.
        job_shell: program to run on each rank. service: that runs it.
        term_signal, kill_signal: what tasks get first, and after kill_timeout seconds.
        kill_timeout: also the unit of the times after which shells are killed.
        max_kill_count: times that shells are killed before their ranks are given up and drained.
        max_kill_timeout: seconds from the first signal after which that is done instead; negative for not at all.
        shell_exit_timeout: seconds that the other shells have when the leader has ended; 0 for any number.
        barrier_timeout: seconds that shells wait for each other; 0 for any number.
        max_start_delay_percent: of a job's duration, that its start may be late without a later end.
        allow_guests: test execution is for all users.
    """

    method: str = "bulk-exec"
    job_shell: str = "flux-shell"
    service: str = "rexec"
    kill_timeout: float = 5.0
    max_kill_timeout: float = -1.0
    max_kill_count: int = 8
    term_signal: int = signal.SIGTERM
    kill_signal: int = signal.SIGKILL
    shell_exit_timeout: float = 30.0
    barrier_timeout: float = 1800.0
    max_start_delay_percent: float = 25.0
    allow_guests: bool = False

    def kill_delays(self) -> Iterator[float]:
        """Seconds from each time that shells are killed to the next, without end."""
        delay = self.kill_timeout
        while True:
            yield min(delay, LONGEST_KILL_DELAY)
            delay *= 2

    def effective_max_kill_timeout(self) -> float:
        """Seconds from a job's first signal until ranks are given up."""
        if self.max_kill_timeout >= 0:
            return self.max_kill_timeout
        tries = max(0, self.max_kill_count - 1)
        return TASK_KILLS * self.kill_timeout + sum(islice(self.kill_delays(), tries))


TASK_KILLS = 5
"""Kill time-outs during which tasks are killed, before their shells are."""
LONGEST_KILL_DELAY = 300.0


def read_settings(table: Mapping[str, Any]) -> Settings:
    """The settings of an `[exec]` table. FluxError EINVAL names the key that is wrong."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key.startswith("sdexec-"):
            continue  # these say nothing while another service is used, and sdexec is refused
        read = _READERS.get(key)
        if read is None:
            near = difflib.get_close_matches(key, _READERS, 1)
            raise FluxError(errno.EINVAL, f"[exec] {key}: unknown key{f', did you mean {near[0]}?' if near else ''}")
        try:
            values[key.replace("-", "_")] = read(value)
        except (ValueError, TypeError) as exc:
            raise FluxError(errno.EINVAL, f"[exec] {key}: {exc}") from None
    values.update(values.pop("testexec", {}))
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


def _timeout(value: Any) -> float:
    return 0.0 if value == "none" else seconds(value)


def _percent(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise TypeError(f"expected a number >= 0, got {value!r:.60}")
    return float(value)


def _method(value: Any) -> str:
    if value not in ("bulk-exec", "bgexec"):
        raise ValueError(f"expected bulk-exec or bgexec, got {value!r:.60}")
    return str(value)


def _service(value: Any) -> str:
    if value == "sdexec":
        raise ValueError("sdexec runs shells by systemd, which is not supported: rexec is")
    return _text(value)


def _imp(value: Any) -> str:
    raise ValueError("jobs of other users need flux-security's IMP, which is not supported: remove this key")


def _testexec(value: Any) -> dict[str, bool]:
    if not isinstance(value, dict) or not set(value) <= {"allow-guests"}:
        raise TypeError(f"expected a table with allow-guests, got {value!r:.60}")
    allowed = value.get("allow-guests", False)
    if not isinstance(allowed, bool):
        raise TypeError(f"allow-guests is true or false, not {allowed!r:.60}")
    return {"allow_guests": allowed}


_READERS = {
    "method": _method,
    "job-shell": _text,
    "service": _service,
    "imp": _imp,
    "kill-timeout": seconds,
    "max-kill-timeout": seconds,
    "max-kill-count": _count,
    "term-signal": _signal,
    "kill-signal": _signal,
    "shell-exit-timeout": _timeout,
    "barrier-timeout": _timeout,
    "max-start-delay-percent": _percent,
    "testexec": _testexec,
}
