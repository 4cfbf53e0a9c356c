"""Shell option sysmon: what memory and processors a job used on each node, in its log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from flux.hooks.shell import hookimpl
from flux.util import parse_fsd
from flux_shell.cgroup import Cgroup
from flux_shell.option_names import object_of

if TYPE_CHECKING:
    from flux_shell.shell import Shell

__all__ = ["SystemMonitor"]

LOG_WARNING, LOG_NOTICE, LOG_TRACE = 4, 5, 7
_PERIOD = 2.0


class SystemMonitor:
    """Reads the job's control group at its start and end, and meanwhile when the shell's verbosity is 2."""

    def __init__(self) -> None:
        self._on = False
        self._cpu = self._memory = False

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        option = shell.options.get("sysmon")
        if not option:
            return
        self._on, self._shell = True, shell
        self._period = _read(option)
        self._cgroup = Cgroup()
        self._cpu = self._cgroup.value("cpu.stat", "usage_usec") is not None
        self._memory = self._cgroup.number("memory.peak") is not None
        if not self._cpu:
            self._log(LOG_WARNING, "no cpu.stat (disabled)")
        if not self._memory:
            self._log(LOG_WARNING, "no memory.peak/memory.current (disabled)")

    def _log(self, level: int, text: str) -> None:
        self._shell.log(level, text, "sysmon")

    def _sample(self) -> tuple[float, int]:
        """Time, and microseconds of processor time used so far."""
        return time.monotonic(), self._cgroup.value("cpu.stat", "usage_usec") or 0

    @hookimpl
    def shell_start(self) -> None:
        if not self._on:
            return
        self._first = self._last = self._sample()
        if self._shell.verbose >= 2:
            self._shell.reactor.call_later(self._period, self._look, self._period)

    def _look(self) -> None:
        if self._memory:
            self._log(LOG_TRACE, f"memory.current={_size(self._cgroup.number('memory.current'))}")
        if self._cpu:
            now = self._sample()
            self._log(LOG_TRACE, f"loadavg={_load(self._last, now):.2f}")
            self._last = now

    @hookimpl
    def shell_finish(self) -> None:
        if self._memory:
            self._log(LOG_NOTICE, f"memory.peak={_size(self._cgroup.number('memory.peak'))}")
        if self._cpu:
            self._log(LOG_NOTICE, f"loadavg-overall={_load(self._first, self._sample()):.2f}")


def _load(first: tuple[float, int], last: tuple[float, int]) -> float:
    """Processors used on average between two samples."""
    seconds = last[0] - first[0]
    return (last[1] - first[1]) * 1e-6 / seconds if seconds > 0 else 0.0


def _size(size: int | None) -> str:
    """Bytes for people, in the greatest unit that leaves at least 1."""
    number, units = float(size or 0), "BKMGTPE"
    power = 0
    while number >= 1024 and power < len(units) - 1:
        number, power = number / 1024, power + 1
    return f"{number:.4g}{units[power] if power else ''}"


def _read(option: Any) -> float:
    """The period in seconds. ValueError when the option is none."""
    if not isinstance(option, dict):
        return _PERIOD
    period = object_of("sysmon", option, "sysmon.period=2s", ("period",)).get("period", _PERIOD)
    try:
        return parse_fsd(str(period)) or _PERIOD
    except ValueError as exc:
        raise ValueError(f"shell option sysmon.period: {exc}") from None
