"""Requests that outlive a change of the tree: sent again when a broker on their way is lost."""

from __future__ import annotations

import errno
from collections.abc import Callable

from flux.errors import FluxError
from flux.future import Future
from flux.rpc import RPC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.core.base import Handle

__all__ = ["FIRST_DELAY", "LONGEST_DELAY", "SteadyRPC"]

FIRST_DELAY, LONGEST_DELAY = 0.02, 1.0
"""Seconds before a request is sent again: the first time, and at most after doubling."""


class SteadyRPC(Future):
    """The one response to a request that may be served twice.

    While a broker on the way has no parent, what it was about to send upstream waits there; what was beyond it
    already is answered with EHOSTUNREACH and sent again here.

    Args:
        handle: the handle to send on.
        send: sends the request and gives its RPC; called again each time.
        patience: seconds after which EHOSTUNREACH is the answer.
    """

    def __init__(self, handle: Handle, send: Callable[[], RPC], patience: float = 10.0) -> None:
        super().__init__(handle)
        self._flux = handle
        self._send = send
        self._patience = patience
        self._delay = FIRST_DELAY
        self._ask()

    def _ask(self) -> None:
        self._send().then(self._answered)

    def _answered(self, rpc: Future) -> None:
        try:
            answer = rpc.get()
        except FluxError as exc:
            if exc.errno != errno.EHOSTUNREACH or self._patience <= 0:
                self.fulfill(exc)
                return
            self._flux.call_later(self._delay, self._ask)
            self._patience -= self._delay
            self._delay = min(2 * self._delay, LONGEST_DELAY)
            return
        self.fulfill(answer)
