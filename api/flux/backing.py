"""The contract of content backing stores (RFC 10), and the module that serves one as `content-backing`.

A backing store is a subclass of `BackingStore`, plain blocking code that one thread uses, and a subclass of
`BackingModule` whose `opener` says how to open it. `flux.testing.content` checks both.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec

from flux.blobs import ANSWER_BYTES, pack, split_digests, unpack
from flux.errors import FluxError, ProtocolError
from flux.hashes import hasher
from flux.message import Message
from flux.module import DEFERRED, USER, Module, request

__all__ = ["BackingModule", "BackingStore", "Blobs", "CheckpointPut", "StoreBatch"]

T = TypeVar("T")
Blobs = Sequence[tuple[bytes, bytes]]
"""Blobs, each behind its digest."""

_SERVICE = "content-backing"


class BackingStore(ABC):
    """Blobs by digest, and checkpoints. Every method may raise FluxError EIO, naming the store and what is wrong.

    Attributes:
        path: where the content is, for people: a file, a folder, a URL.
        full: only a reserve is left. What was stored is safe; nothing new should come until a `store` clears it.
        beside: `load` may be called in a second thread, and does not wait for a `store` that is under way.
    """

    path: str
    full: bool = False
    beside: bool = False

    @abstractmethod
    def load(self, digest: bytes) -> bytes:
        """A blob as it was stored. FluxError ENOENT when it never was. The caller checks the digest."""

    @abstractmethod
    def validate(self, digest: bytes) -> None:
        """FluxError ENOENT when there is no such blob."""

    @abstractmethod
    def store(self, blobs: Blobs) -> None:
        """Store blobs, all or none to be relied on; those that are there already stay. FluxError ENOSPC: no room.

        An empty list stores nothing and finds out whether there is room again.
        """

    @abstractmethod
    def checkpoints(self) -> list[dict[str, Any]]:
        """The last few checkpoints, newest first. FluxError ENOENT when there is none."""

    @abstractmethod
    def put_checkpoint(self, value: dict[str, Any], alone: bool = False) -> None:
        """Add {version: 1, rootref, ...}: on stable storage when this returns, with every blob stored before.

        With `alone` the older ones are forgotten.
        """

    def stats(self) -> dict[str, Any]:
        """What `stats-get` of the module shows."""
        return {}

    @abstractmethod
    def close(self) -> None:
        """Give back files and connections."""


class StoreBatch(msgspec.Struct):
    """content-backing.store-batch: blobs with their digests."""

    blobs: list[tuple[bytes, bytes]]


class CheckpointPut(msgspec.Struct):
    """content-backing.checkpoint-put: {version, rootref, sequence, timestamp}; alone: forget the older ones."""

    value: dict[str, Any]
    alone: bool = False


class BackingModule(Module, ABC):
    """Serves a backing store on rank 0. A subclass gives the `name` and `opener`.

    The store has one thread of its own, so that the broker's loop never waits for a disk, and one that loads when it
    can do that `beside`. Stores that arrive in one loop turn are one `store`. A blob that does not fit its digest is an
    error (EIO), and never served.
    `content-backing.store-batch` is private to modules of this project; load-many, store-many and validate-many are
    those of `flux.blobs`.
    """

    provides = (_SERVICE,)
    requires = ("content",)
    after = ("content",)
    before = ("kvs",)
    ranks = "0"

    @abstractmethod
    async def opener(self) -> Callable[[], BackingStore]:
        """What opens the store; called in its thread."""

    async def choose_path(self, given: str, name: str) -> tuple[str, bool]:
        """Where the content is to be, and whether that outlasts the instance.

        The path given as the module's argument, the attribute content.backing-path, or `name` in the folder of the
        attribute statedir, persist-directory or rundir. FluxError ENOENT when there is none of them.
        """
        if path := given or await self._attribute("content.backing-path"):
            return path, True
        for attribute in ("statedir", "persist-directory", "rundir"):
            if folder := await self._attribute(attribute):
                return os.path.join(folder, name), attribute != "rundir"
        raise FluxError(errno.ENOENT, "neither statedir nor rundir is set: give the argument path")

    async def _attribute(self, name: str) -> str:
        try:
            return str(await self.flux.attr_get(name))
        except FileNotFoundError:
            return ""

    async def start(self) -> None:
        self._queue: list[tuple[Message, bytes | None, Blobs]] = []
        self.hash_name = await self.flux.attr_get("content.hash")
        self._hash = hasher(self.hash_name)
        self._digest_size = len(self._hash(b"").digest())
        opener = await self.opener()
        self._thread = ThreadPoolExecutor(1, self.name)
        self._beside = ThreadPoolExecutor(1, f"{self.name}-load")
        try:
            self.backing = await self.in_order(opener)
            await self.flux.rpc("content.register-backing", {"name": self.name, "batch": True})
        except OSError:
            self._thread.shutdown()
            raise

    async def stop(self) -> None:
        try:
            await self.flux.rpc("content.unregister-backing")
        except OSError as exc:
            self.log.error("the content cache could not be flushed", error=str(exc))
        await self.flux.loop.run_in_executor(None, self._beside.shutdown)
        await self.in_order(self.backing.close)
        self._thread.shutdown()

    def in_order(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Run work in the store's thread, after the stores that came before."""
        self._submit()
        return self.flux.loop.run_in_executor(self._thread, work)

    # -- blobs

    def _digest(self, msg: Message) -> bytes:
        digest = msg.raw or b""
        if len(digest) != self._digest_size:
            raise ProtocolError(f"a {self.hash_name} digest has {self._digest_size} bytes, not {len(digest)}")
        return digest

    @request("load", service=_SERVICE)
    def load(self, msg: Message) -> Any:
        digest = self._digest(msg)
        answer = self._loaded_beside if self.backing.beside else self._loaded
        self._reading(self._load, digest).add_done_callback(functools.partial(answer, msg, digest))
        return DEFERRED

    def _reading(self, work: Callable[[Any], T], what: Any) -> asyncio.Future[T]:
        """Run work that loads: beside the stores, of which it misses those under way, or after them."""
        if self.backing.beside:
            return self.flux.loop.run_in_executor(self._beside, work, what)
        return self.in_order(functools.partial(work, what))

    def _loaded_beside(self, msg: Message, digest: bytes, result: asyncio.Future[bytes]) -> None:
        if isinstance(result.exception(), FileNotFoundError):  # its store may be under way
            again = self.in_order(functools.partial(self._load, digest))
            again.add_done_callback(functools.partial(self._loaded, msg, digest))
        else:
            self._loaded(msg, digest, result)

    def _load(self, digest: bytes) -> bytes:
        blob = self.backing.load(digest)
        if self._hash(blob).digest() != digest:
            text = f"blob {self.hash_name}-{digest.hex()} in {self.backing.path} is damaged: its digest is another"
            raise FluxError(errno.EIO, text)
        return blob

    def _loaded(self, msg: Message, _digest: bytes, result: asyncio.Future[bytes]) -> None:
        error = result.exception()
        if error is None:
            self.respond(msg, result.result() or None)
            return
        if not isinstance(error, FileNotFoundError):
            self.log.error("a blob cannot be loaded", error=str(error))
        self.respond_error(msg, error)

    @request("load-many", service=_SERVICE)
    async def load_many(self, msg: Message) -> bytes | None:
        digests = split_digests(msg.raw or b"", self._digest_size)
        return await self._reading(self._load_many, digests)

    def _load_many(self, digests: list[bytes]) -> bytes | None:
        blobs: list[bytes | None] = []
        size = 0
        for digest in digests:
            blobs.append(self._load_or_none(digest))
            size += len(blobs[-1] or b"")
            if size >= ANSWER_BYTES:
                break
        return pack(blobs) or None

    def _load_or_none(self, digest: bytes) -> bytes | None:
        """A blob, or None for one that has to be asked for by itself to learn what is wrong."""
        try:
            return self._load(digest)
        except FluxError:
            return None

    @request("validate-many", service=_SERVICE)
    async def validate_many(self, msg: Message) -> bytes | None:
        """A byte for each digest: 1 when the blob is there and whole, else 0."""
        digests = split_digests(msg.raw or b"", self._digest_size)
        return await self.in_order(lambda: bytes(self._load_or_none(digest) is not None for digest in digests) or None)

    @request("validate", service=_SERVICE)
    async def validate(self, msg: Message) -> None:
        digest = self._digest(msg)
        await self.in_order(lambda: self.backing.validate(digest))

    @request("store", service=_SERVICE)
    def store(self, msg: Message) -> Any:
        blob = msg.raw or b""
        digest = self._hash(blob).digest()
        return self._enqueue(msg, digest, [(digest, blob)])

    @request("store-many", service=_SERVICE)
    def store_many(self, msg: Message) -> Any:
        blobs = [blob or b"" for blob in unpack(msg.raw or b"")]
        return self._enqueue(msg, b"", [(self._hash(blob).digest(), blob) for blob in blobs])

    @request("store-batch", service=_SERVICE, payload=StoreBatch)
    def store_batch(self, msg: Message, req: StoreBatch) -> Any:
        return self._enqueue(msg, None, req.blobs)

    def _enqueue(self, msg: Message, digest: bytes | None, blobs: Blobs) -> Any:
        if not self._queue:
            self.flux.loop.call_soon(self._submit)
        self._queue.append((msg, digest, blobs))
        return DEFERRED

    def _submit(self) -> None:
        """Write what is queued with one call."""
        if self._queue:
            queue, self._queue = self._queue, []
            blobs = [blob for _, _, batch in queue for blob in batch]
            written = self.flux.loop.run_in_executor(self._thread, self.backing.store, blobs)
            written.add_done_callback(lambda result: self._answer(queue, result.exception()))

    def _answer(self, queue: list[tuple[Message, bytes | None, Blobs]], error: BaseException | None) -> None:
        for msg, digest, _ in queue:
            if error is not None:
                self.respond_error(msg, error)
            else:
                self.respond(msg, {"full": self.backing.full} if digest is None else digest or None)

    # -- checkpoints

    @request("checkpoint-get", service=_SERVICE)
    async def checkpoint_get(self, msg: Message) -> dict[str, Any]:
        return {"value": await self.in_order(self.backing.checkpoints)}

    @request("checkpoint-put", service=_SERVICE, payload=CheckpointPut)
    def checkpoint_put(self, msg: Message, req: CheckpointPut) -> Coroutine[Any, Any, None]:
        if req.value.get("version") != 1 or not isinstance(req.value.get("rootref"), str):
            raise ProtocolError("a checkpoint is {version: 1, rootref, ...}")
        return self._put_checkpoint(req.value, req.alone)

    async def _put_checkpoint(self, value: dict[str, Any], alone: bool) -> None:
        await self.in_order(lambda: self.backing.put_checkpoint(value, alone))

    @request("stats-get", allow=USER)
    async def stats_get(self, msg: Message) -> dict[str, Any]:
        counts = await self.in_order(self.backing.stats)
        return {**self.runner.counters.as_dict(), **counts, "path": self.backing.path, "full": self.backing.full}
