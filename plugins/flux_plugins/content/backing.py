"""Rank 0's side of the backing store: writing dirty blobs back in batches, loading what was purged."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any

from flux.content import RawRPC
from flux.errors import FluxError
from flux.failpoint import failpoint

if TYPE_CHECKING:
    from flux.rpc import RPC
    from flux_plugins.content.module import Content

__all__ = ["Backing"]


class Backing:
    """A registered backing store; one request to it is under way at a time, the next takes what came meanwhile.

    Args:
        content: the cache it stores for.
        batch: whether it takes many blobs in one request.

    Attributes:
        in_flight: blobs in the request that is under way. full: the store has no room, the instance is read-only.
    """

    def __init__(self, content: Content, name: str, batch: bool) -> None:
        self.content = content
        self.name = name
        self.batch = batch
        self.in_flight = 0
        self._timer: asyncio.TimerHandle | None = None
        self.full = False
        self._busy = False
        self._reported = ""
        self._flushers: list[asyncio.Future[None]] = []
        self._late: list[tuple[int, asyncio.Future[None]]] = []

    # -- writing back

    def retry(self) -> None:
        """Try again what failed, and when the store was full find out whether there is room now."""
        if not self._busy and (self.full or self.content.cache.dirty):
            self._write(probe=self.full)

    def schedule(self) -> None:
        """There are dirty blobs: write them back soon."""
        if self._timer is None and not self._busy:
            self._timer = self.content.flux.loop.call_later(self.content.options.flush_delay, self._write)

    async def flush(self) -> None:
        """Wait until no blob is dirty. FluxError ENOSPC when there is no room, EIO when the store fails otherwise."""
        while self.content.cache.dirty:
            done: asyncio.Future[None] = self.content.flux.loop.create_future()
            self._flushers.append(done)
            if not self._busy:
                self._write()
            await done

    async def catch_up(self, backlog: int) -> None:
        """Wait until at most so many bytes are dirty, or the store fails: what it does not take stays in memory."""
        done: asyncio.Future[None] = self.content.flux.loop.create_future()
        self._late.append((backlog, done))
        await done

    def _write(self, probe: bool = False) -> None:
        """Send the next dirty blobs; with probe also when there are none, to learn whether there is room."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        taken = self.content.cache.take_dirty(self.content.settings.flush_batch_limit)
        if self._busy or not (taken or probe):
            return
        self._busy = True
        self.in_flight = len(taken)
        failpoint("content.write")
        if self.batch:
            request = self.content.flux.rpc("content-backing.store-batch", {"blobs": taken})
            request.then(self._written, [digest for digest, _ in taken])
        else:
            self.content.spawn(self._write_singly(taken), "write-back")

    async def _write_singly(self, taken: list[tuple[bytes, bytes]]) -> None:
        """For a backing store that knows content-backing.store alone."""
        requests = [RawRPC(self.content.flux, "content-backing.store", blob or None) for _, blob in taken]
        for request in requests:
            try:
                await request
            except FluxError as exc:
                self._finish([], exc)
                return
        self._finish([digest for digest, _ in taken], None)

    def _written(self, request: RPC, digests: list[bytes]) -> None:
        try:
            answer = request.get()
            failpoint("content.written")
        except FluxError as exc:
            self._finish([], exc)
        else:
            self._finish(digests, None, bool(answer and answer.get("full")))

    def _finish(self, digests: list[bytes], error: FluxError | None, full: bool = False) -> None:
        self._busy = False
        self.in_flight = 0
        self.content.cache.clean(digests)
        self.content.make_room()
        self._mark_full(full or (error is not None and error.errno == errno.ENOSPC))
        if error is not None:
            self._report(error)
        elif self.content.cache.dirty >= self.content.settings.flush_batch_limit:
            self._write()
        elif self.content.cache.dirty:
            self.schedule()
        self._answer_flushers(error)
        self._answer_late(error is not None)

    def _report(self, error: FluxError) -> None:
        text = str(error)
        if text != self._reported:
            self._reported = text
            self.content.log.error("the backing store failed, blobs stay in memory", backing=self.name, error=text)

    def _mark_full(self, full: bool) -> None:
        """Without room the instance is read-only; those who write for others hear it by the event content.full."""
        if full == self.full:
            return
        self.full = full
        if full:
            self.content.log.error("no space left in the backing store: the instance is read-only", backing=self.name)
        else:
            self._reported = ""
            self.content.log.warning("there is space again in the backing store: writing goes on", backing=self.name)
        self.content.flux.event_send("content.full", {"full": full}, private=True)

    def _answer_flushers(self, error: FluxError | None) -> None:
        flushers, self._flushers = self._flushers, []
        for flusher in flushers:
            if flusher.done():
                continue
            if error is None:
                flusher.set_result(None)
            else:
                code = errno.ENOSPC if error.errno == errno.ENOSPC else errno.EIO
                flusher.set_exception(FluxError(code, f"the backing store {self.name} failed: {error}"))

    def _answer_late(self, all_of_them: bool) -> None:
        late, self._late = self._late, []
        for backlog, done in late:
            if not all_of_them and self.content.cache.dirty_size > backlog:
                self._late.append((backlog, done))
            elif not done.done():
                done.set_result(None)

    def stop(self) -> None:
        """The backing store goes away."""
        self._answer_late(True)
        self._mark_full(False)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def stats(self) -> dict[str, Any]:
        return {"flush-batch-count": self.in_flight, "full": self.full}
