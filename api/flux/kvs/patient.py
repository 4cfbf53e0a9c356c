"""Commits, and their like, of what must not be lost: on a full disk they wait for room (docs/promises.md)."""

from __future__ import annotations

import errno
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from flux.errors import FluxError
from flux.future import Future
from flux.kvs.requests import commit_async
from flux.kvs.txn import KVSTxn

if TYPE_CHECKING:
    from collections.abc import Callable

    from flux.core.base import Handle
    from flux.rpc import RPC

__all__ = ["PatientCommit", "PatientRPC"]

_DELAY = 1.0


class _Patient(Future):
    """A request to the KVS that is sent again each second while the backing store is full (ENOSPC).

    It waits as long as the instance runs: one that ends does not end later for it. What is in it is in memory until
    then: whoever has several to make in order makes one at a time.

    Attributes:
        waiting: it was refused for want of room, and is going to be sent again.
    """

    def __init__(self, handle: Handle) -> None:
        super().__init__(handle)
        self._flux = handle
        self._gives_up = False
        self._timer: Any = None
        self.waiting = False
        self._send()

    @abstractmethod
    def _request(self) -> RPC:
        """Send the request."""

    def _send(self) -> None:
        self.waiting = False
        self._timer = None
        self._request().then(self._answered)

    def _answered(self, rpc: Future) -> None:
        try:
            answer = rpc.get()
        except FluxError as exc:
            if exc.errno == errno.ENOSPC and not self._gives_up:
                self.waiting = True
                self._flux.rpc("state-machine.get", {}, 0).then(self._look, exc)
            else:
                self.fulfill(exc)
            return
        self.fulfill(answer)

    def _look(self, rpc: Future, refusal: FluxError) -> None:
        """Wait if the instance goes on."""
        runs = rpc.error_string() is None and rpc.get()["state"] == "run"
        if runs and not self._gives_up:
            self._timer = self._flux.call_later(_DELAY, self._send)
        else:
            self.waiting = False
            self.fulfill(refusal)

    def give_up(self) -> None:
        """Try once more at once if it waits; from now on ENOSPC is the answer. For who has no time left."""
        self._gives_up = True
        if self._timer is not None and self.waiting:
            self._timer.cancel()
            self._send()


class PatientRPC(_Patient):
    """A patient request of any kind.

    Args:
        handle: the handle to send on.
        send: sends the request and gives its RPC; called again each time.
    """

    def __init__(self, handle: Handle, send: Callable[[], RPC]) -> None:
        self._ask = send
        super().__init__(handle)

    def _request(self) -> RPC:
        return self._ask()


class PatientCommit(_Patient):
    """A patient commit; the result is as of any commit.

    Args:
        handle: the handle to send on.
        txn: is emptied.
    """

    def __init__(self, handle: Handle, txn: KVSTxn, namespace: str | None = None) -> None:
        self._namespace = namespace
        self._ops, txn.ops = txn.ops, []
        super().__init__(handle)

    def _request(self) -> RPC:
        txn = KVSTxn()
        txn.ops = self._ops
        return commit_async(self._flux, txn, namespace=self._namespace)
