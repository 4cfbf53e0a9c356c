"""Requests that outlive a change of the tree, or a lost connection: sent again when what is on their way is lost."""

from __future__ import annotations

import errno
from collections.abc import Callable

from flux.errors import FluxError
from flux.future import Future
from flux.rpc import RPC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.core.base import Handle

__all__ = ["FIRST_DELAY", "LONGEST_DELAY", "LOST", "SteadyRPC"]

FIRST_DELAY, LONGEST_DELAY = 0.02, 1.0
"""Seconds before a request is sent again: the first time, and at most after doubling."""
LOST = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ECONNREFUSED})
"""What requests fail with when the connection is lost."""


class SteadyRPC(Future):
    """The one response to a request that may be served twice.

    While a broker on the way has no parent, what it was about to send upstream waits there; what was beyond it
    already is answered with EHOSTUNREACH and sent again here.

    Args:
        handle: the handle to send on.
        send: sends the request and gives its RPC; called again each time.
        patience: seconds after which EHOSTUNREACH is the answer.
        reconnects: the handle comes back when its connection is lost, and so may whoever serves the request: while
            that one is away, the answer is ENOSYS.
    """

    def __init__(
        self, handle: Handle, send: Callable[[], RPC], patience: float = 10.0, reconnects: bool = False
    ) -> None:
        super().__init__(handle)
        self._flux = handle
        self._send = send
        self._patience = patience
        self._delay = FIRST_DELAY
        self._passing = {errno.EHOSTUNREACH, errno.ENOSYS, *LOST} if reconnects else {errno.EHOSTUNREACH}
        self._ask()

    def _ask(self) -> None:
        try:
            self._send().then(self._answered)
        except FluxError as exc:
            if exc.errno not in self._passing:
                raise
            self._failed(exc)

    def _answered(self, rpc: Future) -> None:
        try:
            answer = rpc.get()
        except FluxError as exc:
            self._failed(exc)
            return
        self.fulfill(answer)

    def _failed(self, error: FluxError) -> None:
        if error.errno not in self._passing or self._patience <= 0:
            self.fulfill(error)
            return
        self._flux.call_later(self._delay, self._ask)
        self._patience -= self._delay
        self._delay = min(2 * self._delay, LONGEST_DELAY)
