"""Watchers of the event loop itself: before it blocks, after that, and when it has nothing to do (flux.core.watchers).

Together they let a program bring in work that the reactor knows nothing of: a prepare watcher starts an idle watcher
when there is some, so that the loop does not block, and a check watcher does the work and stops the idle one.
"""

from __future__ import annotations

from flux.core.watchers import Watcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from flux.core.handle import Flux

__all__ = ["CheckWatcher", "IdleWatcher", "PrepareWatcher"]


class _LoopWatcher(Watcher):
    """callback(handle, watcher, 0, args) once in each turn of the loop; None when there is nothing to call."""

    phase = ""

    def __init__(self, flux_handle: Flux, callback: Callable[..., Any] | None = None, args: Any = None) -> None:
        super().__init__(flux_handle, callback or _nothing, args)

    def _start(self) -> None:
        self.reactor.add_phase(self.phase, self._fire)

    def _stop(self) -> None:
        self.reactor.remove_phase(self.phase, self._fire)

    def _fire(self) -> None:
        if self.active:
            self.callback(self.flux_handle, self, 0, self.args)


def _nothing(*_args: Any) -> None:
    """What an idle watcher calls that only keeps the loop from blocking."""


class PrepareWatcher(_LoopWatcher):
    """Fires before the loop blocks."""

    phase = "prepare"


class CheckWatcher(_LoopWatcher):
    """Fires after the loop has blocked, before what it found is dealt with."""

    phase = "check"


class IdleWatcher(_LoopWatcher):
    """Keeps the loop from blocking, and fires at the end of each turn."""

    phase = "idle"
