"""The way out of this broker: to the next one in the ring that answers."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from functools import partial
from typing import Protocol

import zmq

from flux.errors import FluxError
from flux.module import Module
from flux_plugins.ring.circle import Circle, Member
from flux_plugins.ring.outbox import Done, Outbox
from flux_plugins.ring.successor import Successor

__all__ = ["Passage", "Patience"]

_AGAIN = 0.05  # seconds until a broker that does not know our key yet is tried again


class Patience(Protocol):
    """How long to wait, in seconds: for the next broker to acknowledge; until one left out is tried again."""

    timeout: float
    retry: float


class Passage:
    """Keeps a connection to the next broker, and hands what one has not acknowledged to the one after it.

    Args:
        module: the ring. context, keys: for the connections.
        circle: who there is; call `changed` when there is another one.
        left_out: called with members that are passed over from now on.
        returned: called with a packet that nobody can be given, as frames, and what to call at its end.
    """

    def __init__(
        self,
        module: Module,
        context: zmq.Context[zmq.Socket[bytes]],
        keys: tuple[bytes, bytes],
        circle: Circle,
        patience: Patience,
        left_out: Callable[[list[int]], None],
        returned: Callable[[list[bytes], Done], None],
    ) -> None:
        self._module, self._context, self._keys = module, context, keys
        self._circle, self._patience = circle, patience
        self._left_out, self._returned = left_out, returned
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox()
        self._next: Successor | None = None
        self._search: asyncio.Task[None] | None = None
        self._wanted = self._closing = False
        self._passed_over: set[int] = set()
        self._silent: Member | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None

    @property
    def next_rank(self) -> int:
        """Rank of the broker that is next; this one's own when it is alone."""
        return self._module.rank if self._next is None else self._next.member.rank

    def send(self, frames: list[bytes], done: Done) -> None:
        """Send a packet on; `done` is called when it has reached its target."""
        self._outbox.add(frames, done)
        if self._next is not None:
            self._next.send(frames)
            self._watch()
        elif self._search is None:
            self._loop.call_soon(self._return_all)

    def changed(self) -> None:
        """There is another member, or a nearer one may be back: see who is next."""
        if self._closing:
            return
        if self._search is not None:
            self._wanted = True
            return
        self._wanted = False
        self._search = self._module.spawn(self._find(), "find the next broker")

    async def _find(self) -> None:
        former = self._next
        silent, self._silent = self._silent, None
        try:
            for member in self._circle.after():
                if member == silent:
                    continue
                if former is not None and former is self._next and member == former.member:
                    return
                joined = await self._try(member)
                if joined is not None:
                    self._use(joined)
                    return
            self._use(None)
        finally:
            self._search = None
            if not self._closing:
                self._found()

    async def _try(self, member: Member) -> Successor | None:
        """A connection to a broker; None when it cannot be had."""
        deadline = self._loop.time() + self._patience.timeout
        while (left := deadline - self._loop.time()) > 0:
            failed = partial(self._module.log.exception, "error in the ring")
            link = Successor(self._context, self._keys, self._module.rank, member, self._arrived, self._ended, failed)
            try:
                await link.join(left)
                return link
            except FluxError as exc:
                link.close()
                self._module.log.debug(f"the ring passes over rank {member.rank}: {exc}")
                if exc.errno != errno.EPERM:
                    return None
            except BaseException:
                link.close()
                raise
            await asyncio.sleep(_AGAIN)
        return None

    def _use(self, link: Successor | None) -> None:
        """From now on this one is next."""
        if self._next is not None:
            self._next.close()
        self._next = link
        if link is not None:
            for frames in self._outbox.begin():
                link.send(frames)
            self._watch()

    def _found(self) -> None:
        """The search is over: say who is passed over now, and try those again later, or at once."""
        passed = self._circle.between(self.next_rank)
        fresh = [rank for rank in passed if rank not in self._passed_over]
        self._passed_over = set(passed)
        if fresh:
            self._left_out(fresh)
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._wanted:
            self.changed()
        elif passed:
            self._retry = self._loop.call_later(self._patience.retry, self.changed)
        self._return_all()

    def _return_all(self) -> None:
        if self._next is None and self._search is None:
            for frames, done in self._outbox.take_all():
                self._returned(frames, done)

    # -- silence and ends

    def _arrived(self, link: Successor, count: int) -> None:
        if link is self._next:
            self._outbox.ended(count)

    def _watch(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._patience.timeout, self._check, self._loop.time())

    def _check(self, since: float) -> None:
        self._timer = None
        link = self._next
        if link is None or link.got >= link.sent:
            return
        if self._loop.time() - since > 2 * self._patience.timeout:
            self._watch()  # this broker was held up itself: what it has to be told may still be on its way
        elif link.heard < since:
            self._silent = link.member
            self._ended(link, f"rank {link.member.rank} is silent for {self._patience.timeout:g} s")
        else:
            self._watch()

    def _ended(self, link: Successor, reason: str) -> None:
        if link is self._next:
            self._module.log.info(f"the ring goes another way: {reason}")
            self._next = None
            link.close()
            self.changed()

    async def close(self) -> None:
        self._closing = True
        if self._search is not None:
            self._search.cancel()
            await asyncio.wait({self._search})
        for timer in (self._timer, self._retry):
            if timer is not None:
                timer.cancel()
        if self._next is not None:
            self._next.close()
            self._next = None
