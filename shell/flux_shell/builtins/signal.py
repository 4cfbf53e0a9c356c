"""Shell option signal: a warning to the tasks some time before the job expires (--signal of flux-submit(1))."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

from flux.core.reactor import Timer
from flux.errors import FluxError
from flux.future import Future
from flux.hooks.shell import hookimpl
from flux.util import parse_fsd
from flux_shell.option_names import object_of

if TYPE_CHECKING:
    from flux_shell.shell import Shell

__all__ = ["TimeLimitWarning"]

LOG_ERR, LOG_NOTICE, LOG_DEBUG = 3, 5, 6
_TIMELEFT = 60.0
_KEYS = ("signum", "timeleft")


class TimeLimitWarning:
    """Starts a countdown, in the first shell of a job that asks for it."""

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        option = shell.options.get("signal")
        if option and not shell.rank and not shell.standalone:
            countdown = _Countdown(shell, *_read(option))
            countdown.shell_resource_update()
            shell.stack.register(countdown, "signal.countdown")


class _Countdown:
    """Signals the job `timeleft` seconds before it expires, also when its expiration changes."""

    def __init__(self, shell: Shell, signum: signal.Signals, timeleft: float) -> None:
        self._shell, self._signum, self._timeleft = shell, signum, timeleft
        self._timer: Timer | None = None

    @hookimpl
    def shell_resource_update(self) -> None:
        """Also called at the start."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        expiration = float(self._shell.job.r["execution"].get("expiration") or 0)
        if not expiration:
            self._log(LOG_NOTICE, f"job has no expiration, {self._signum.name} will not be sent")
            return
        delay = max(0.0, expiration - self._timeleft - time.time())
        self._log(LOG_DEBUG, f"{self._signum.name} will be sent to the job in {delay:.2f}s")
        self._timer = self._shell.reactor.call_later(delay, self._warn)

    def _warn(self) -> None:
        self._log(LOG_NOTICE, f"job will expire in {self._timeleft:.1f}s, sending {self._signum.name} to job")
        request = {"id": self._shell.jobid, "signum": int(self._signum)}
        self._shell.flux.rpc("job-manager.kill", request).then(self._sent)

    def _sent(self, future: Future) -> None:
        try:
            future.get()
        except FluxError as exc:
            self._log(LOG_ERR, f"failed to send {self._signum.name} to job: {exc}")

    def _log(self, level: int, text: str) -> None:
        self._shell.log(level, text, "signal")


def _read(option: Any) -> tuple[signal.Signals, float]:
    """Signal and seconds. ValueError says what is wrong with the option."""
    if option in (1, "1", True):
        return signal.SIGUSR1, _TIMELEFT
    options = object_of("signal", option, "signal.signum=10 or signal.timeleft=60s", _KEYS)
    signum = _signal_of(options.get("signum", signal.SIGUSR1))
    try:
        return signum, parse_fsd(str(options.get("timeleft", _TIMELEFT)))
    except ValueError as exc:
        raise ValueError(f"shell option signal.timeleft: {exc}") from None


def _signal_of(asked: Any) -> signal.Signals:
    if isinstance(asked, bool) or not isinstance(asked, int | str):
        raise ValueError(f"shell option signal.signum={asked!s:.60}: the number of a signal was expected")
    try:
        return signal.Signals(int(asked))
    except ValueError:
        raise ValueError(f"shell option signal.signum={asked}: there is no such signal") from None
