"""A namespace as one rank knows it: its root, its owner, and who waits for it to change."""

from __future__ import annotations

import errno
import heapq
import itertools
from typing import TYPE_CHECKING, Any

from flux.errors import FluxError
from flux.message import ROLE_OWNER

if TYPE_CHECKING:
    from flux.message import Message
    from flux_plugins.kvs.transaction import Transaction

__all__ = ["Namespace", "Unknown", "may_use"]


class Unknown(Exception):
    """A namespace that this rank must first ask rank 0 for; never an error that a client sees."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Namespace:
    """One namespace.

    Attributes:
        owner: userid that may use it beside the instance owner.
        told: other ranks, or modules beside this one, hear of its roots by events (rank 0).
        rootref, rootseq: the present root and how many commits led to it.
        queue: transactions to commit (rank 0). busy: a commit is being stored, or waits for this loop turn's end.
    """

    def __init__(
        self, name: str, owner: int, rootref: str, rootseq: int = 0, flags: int = 0, told: bool = True
    ) -> None:
        self.name = name
        self.told = told
        self.owner = owner
        self.flags = flags
        self.rootref = rootref
        self.rootseq = rootseq
        self.queue: list[Transaction] = []
        self.busy = False
        self._waiters: list[tuple[int, int, Message]] = []
        self._order = itertools.count()

    def advance(self, rootref: str, rootseq: int) -> list[Message]:
        """Set a new root; gives the requests that waited for this version or an earlier one."""
        self.rootref, self.rootseq = rootref, rootseq
        ready: list[Message] = []
        while self._waiters and self._waiters[0][0] <= rootseq:
            ready.append(heapq.heappop(self._waiters)[2])
        return ready

    def wait(self, rootseq: int, msg: Message) -> None:
        """Keep a request until the namespace has version rootseq."""
        heapq.heappush(self._waiters, (rootseq, next(self._order), msg))

    def forget_sender(self, sender: str) -> None:
        """A client went away: nobody waits for its answers."""
        self._waiters = [waiter for waiter in self._waiters if waiter[2].sender != sender]
        heapq.heapify(self._waiters)

    def waiting(self) -> list[Message]:
        """Everything that has not been answered: version waiters and transactions of this rank."""
        requests = [msg for _, _, msg in self._waiters]
        return requests + [transaction.msg for transaction in self.queue if transaction.msg is not None]

    def root(self) -> dict[str, Any]:
        return {"rootref": self.rootref, "rootseq": self.rootseq}

    def stats(self) -> dict[str, int]:
        return {"#versionwaiters": len(self._waiters), "#transactions": len(self.queue), "store revision": self.rootseq}


def may_use(namespace: Namespace, userid: int, rolemask: int) -> None:
    """FluxError EPERM unless the user is the instance owner or owns the namespace (RFC 12)."""
    if not rolemask & ROLE_OWNER and userid != namespace.owner:
        raise FluxError(errno.EPERM, f"namespace {namespace.name} belongs to another user")
