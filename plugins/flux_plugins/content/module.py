"""The content module: a cache on every rank, filled from and written through to the rank above (RFC 10).

Rank 0 writes back to the backing store when there is one; a blob is safe from a crash once it is flushed.
`content.store-batch` is private to modules of this project: many blobs with their digests in one request. load-many and
store-many are those of `flux.blobs`.
"""

from __future__ import annotations

import errno
import functools
import time
from collections.abc import Callable, Coroutine
from typing import Any

from flux.blobs import ANSWER_BYTES, pack, split_digests, unpack
from flux.content import RawRPC
from flux.core.steady import SteadyRPC
from flux.errors import FluxError, ProtocolError
from flux.failpoint import failpoint
from flux.future import Future
from flux.hashes import hasher
from flux.message import NODEID_UPSTREAM, Message
from flux.module import DEFERRED, Module, event, request
from flux_plugins.content.backing import Backing
from flux_plugins.content.cache import ContentCache
from flux_plugins.content.regions import Region, Regions
from flux_plugins.content.requests import (
    CheckpointPut,
    MmapAdd,
    MmapRemove,
    Options,
    RegisterBacking,
    StoreBatch,
)
from flux_plugins.content.settings import Settings

__all__ = ["Content"]

_BACKLOG = 32 << 20  # bytes that may wait for the backing store before those who store more have to wait
_MOST = 5  # times content.purge-target-size is what clean blobs may take between two heartbeats
_NO_BACKING = "there is no content backing store"


class Content(Module):
    """Load and store blobs by digest."""

    name = "content"
    options_type = Options

    def start(self) -> None:
        self.cache = ContentCache()
        self.cache.now = time.monotonic()
        self.backing: Backing | None = None
        self._loading: dict[bytes, list[Message]] = {}
        self._upstream = 0
        self._backing_name = self.attrs.get("content.backing-module") or ""
        self.hash_name = self._choose_hash()
        self._hash = hasher(self.hash_name)
        self._digest_size = len(self._hash(b"").digest())
        self._leader = self.rank == 0
        self.regions = Regions(self._hash)
        self.settings = Settings(self.options)
        if self.broker is not None:
            self.settings.follow(self.broker.attrs)
            self.settings.show(self.broker.attrs, self._accounts())

    def stop(self) -> None:
        self.regions.close()
        if self.broker is not None:
            self.settings.hide(self.broker.attrs)

    def _accounts(self) -> dict[str, Callable[[], int]]:
        """What the accounting attributes show: entries being loaded are invalid until they are here."""
        return {
            "acct-dirty": lambda: self.cache.dirty,
            "acct-entries": lambda: len(self.cache.entries) + len(self._loading),
            "acct-size": lambda: self.cache.size,
            "acct-valid": lambda: len(self.cache.entries),
            "flush-batch-count": lambda: self.backing.in_flight if self.backing else self._upstream,
        }

    def _choose_hash(self) -> str:
        if self.broker is None:
            return self.attrs.get("content.hash") or "sha1"
        name = self.broker.attrs.get("content.hash") or "sha1"
        self.broker.attrs.set("content.hash", name, immutable=True)
        return name

    # -- load

    @request("load")
    def load(self, msg: Message) -> Any:
        digest = msg.raw or b""
        if len(digest) != self._digest_size:
            raise ProtocolError(f"a {self.hash_name} digest has {self._digest_size} bytes, not {len(digest)}")
        blob = self._in_memory(digest)
        if blob is not None:
            return blob or None
        self._fault_in(digest, msg)
        return DEFERRED

    def _fault_in(self, digest: bytes, msg: Message) -> None:
        waiting = self._loading.get(digest)
        if waiting is not None:
            waiting.append(msg)
            return
        if self._leader and self.backing is None:
            raise FluxError(errno.ENOENT)
        self._loading[digest] = [msg]
        if self._leader:
            RawRPC(self.flux, "content-backing.load", digest).then(self._loaded, digest)
        else:
            self._upward("content.load", digest).then(self._loaded, digest)

    def _upward(self, topic: str, data: bytes | None) -> SteadyRPC:
        """Ask the rank above, or whichever comes to be the one above meanwhile."""
        return SteadyRPC(self.flux, lambda: RawRPC(self.flux, topic, data, NODEID_UPSTREAM))

    def _loaded(self, source: Future, digest: bytes) -> None:
        waiting = self._loading.pop(digest)
        try:
            blob = source.get()
        except FluxError as exc:
            for msg in waiting:
                self.respond_error(msg, exc)
            return
        self.cache.add(digest, blob, dirty=False)
        self.make_room()
        for msg in waiting:
            self.respond(msg, blob or None)

    @request("load-many")
    async def load_many(self, msg: Message) -> bytes | None:
        """What is not in memory comes from the backing store, and is not kept here."""
        self._need_leader("many blobs are loaded")
        digests = split_digests(msg.raw or b"", self._digest_size)
        found = {digest: self._in_memory(digest) for digest in digests}
        missing = [digest for digest, blob in found.items() if blob is None]
        from_store = dict(zip(missing, await self._from_store(missing), strict=False))
        blobs: list[bytes | None] = []
        size = 0
        for digest in digests:
            blob = found[digest]
            if blob is None:
                if digest not in from_store:
                    break
                blob = from_store[digest]
            blobs.append(blob)
            size += len(blob or b"")
            if size >= ANSWER_BYTES:
                break
        return pack(blobs) or None

    def _in_memory(self, digest: bytes) -> bytes | None:
        blob = self.cache.get(digest)
        return self.regions.get(digest) if blob is None else blob

    async def _from_store(self, digests: list[bytes]) -> list[bytes | None]:
        """The first of these blobs, at least one; None for what cannot be loaded with others."""
        if not digests or self.backing is None:
            return [None] * len(digests)
        try:
            return unpack(await RawRPC(self.flux, "content-backing.load-many", b"".join(digests)))
        except FluxError as exc:
            if exc.errno != errno.ENOSYS:
                raise
            return [None] * len(digests)

    # -- store

    @request("store")
    def store(self, msg: Message) -> Any:
        blob = msg.raw or b""
        self._check_size(blob)
        digest = self._hash(blob).digest()
        if self._leader:
            self._check_room([digest])
            self._keep([(digest, blob)])
            return self._in_time(digest)
        if self.cache.get(digest) is None:
            return self._write_through(digest, blob)
        return digest

    @request("store-many")
    def store_many(self, msg: Message) -> Any:
        self._need_leader("many blobs are stored")
        pairs: list[tuple[bytes, bytes]] = []
        for blob in unpack(msg.raw or b""):
            if blob is None:
                raise ProtocolError("a blob to store is missing")
            self._check_size(blob)
            pairs.append((self._hash(blob).digest(), blob))
        self._check_room([digest for digest, _ in pairs])
        self._keep(pairs)
        return self._in_time(None)

    def _check_size(self, blob: bytes) -> None:
        if len(blob) > self.settings.blob_size_limit:
            limit = f"{self.settings.blob_size_limit} bytes (content.blob-size-limit)"
            raise FluxError(errno.EFBIG, f"a blob has at most {limit}, not {len(blob)}")

    def _check_room(self, digests: list[bytes]) -> None:
        """FluxError ENOSPC when one of them is new and the backing store is full."""
        if self.backing is not None and self.backing.full and any(self.cache.get(digest) is None for digest in digests):
            raise FluxError(errno.ENOSPC, f"{self.backing.name} has no space left: the instance is read-only")

    async def _write_through(self, digest: bytes, blob: bytes) -> bytes:
        """Answer only when every rank can load the blob, that is when rank 0 has it."""
        self._upstream += 1
        try:
            await self._upward("content.store", blob or None)
        finally:
            self._upstream -= 1
        self.cache.add(digest, blob, dirty=False)
        self.make_room()
        return digest

    @request("store-batch", payload=StoreBatch)
    def store_batch(self, msg: Message, req: StoreBatch) -> Any:
        if self._leader:
            self._keep(req.blobs)
            return self._in_time(None)
        return self._write_batch_through(req.blobs)

    async def _write_batch_through(self, blobs: list[tuple[bytes, bytes]]) -> None:
        await SteadyRPC(self.flux, lambda: self.flux.rpc("content.store-batch", {"blobs": blobs}, NODEID_UPSTREAM))
        for digest, blob in blobs:
            self.cache.add(digest, blob, dirty=False)
        self.make_room()

    def _keep(self, blobs: list[tuple[bytes, bytes]]) -> None:
        failpoint("content.keep")
        for digest, blob in blobs:
            self.cache.add(digest, blob, dirty=True)
        if self.backing is not None:
            self.backing.schedule()

    def _in_time(self, answer: bytes | None) -> Any:
        """The answer to who stores, which comes later when the backing store is far behind."""
        if self.backing is None or self.cache.dirty_size <= _BACKLOG:
            return answer
        return self._when_caught_up(self.backing, answer)

    async def _when_caught_up(self, backing: Backing, answer: bytes | None) -> bytes | None:
        await backing.catch_up(_BACKLOG)
        return answer

    # -- flush, drop, purge

    @request("flush")
    def flush(self, msg: Message) -> Coroutine[Any, Any, None] | None:
        if not self._leader:
            return None  # written through: nothing here is dirty
        return self._need_backing().flush()

    @request("dropcache")
    def dropcache(self, msg: Message) -> None:
        self.cache.drop()

    @event("content.dropcache")
    def on_dropcache(self, msg: Message) -> None:
        self.cache.drop()

    @event("heartbeat.pulse")
    def on_heartbeat(self, msg: Message) -> None:
        self.cache.now = time.monotonic()
        self._purge(self.settings.purge_old_entry)
        if self.backing is not None:
            self.backing.retry()

    def make_room(self) -> None:
        """Forget blobs however young they are when there are far too many."""
        if self.cache.clean_cost > _MOST * self.settings.purge_target_size:
            self._purge(0)

    def _purge(self, older_than: float) -> None:
        if not self._leader or self.backing is not None:
            self.cache.purge(self.settings.purge_target_size, older_than)

    # -- files as blobs

    @request("mmap-add", payload=MmapAdd)
    async def mmap_add(self, msg: Message, req: MmapAdd) -> None:
        self._need_leader("files are mapped")
        limit = self.settings.blob_size_limit
        work = functools.partial(Region, req.path, req.chunksize, limit, self._hash)
        self.regions.add(req.tag, await self.flux.loop.run_in_executor(None, work))

    @request("mmap-remove", payload=MmapRemove)
    def mmap_remove(self, msg: Message, req: MmapRemove) -> None:
        self._need_leader("files are mapped")
        self.regions.remove(req.tag)

    def _need_leader(self, what: str) -> None:
        if not self._leader:
            raise FluxError(errno.EINVAL, f"{what} on rank 0")

    # -- backing store

    def _need_backing(self) -> Backing:
        if self.backing is None:
            raise FluxError(errno.ENOSYS, _NO_BACKING)
        return self.backing

    @request("register-backing", payload=RegisterBacking)
    def register_backing(self, msg: Message, req: RegisterBacking) -> None:
        self._need_leader("a content backing store registers")
        if self.backing is not None:
            raise FluxError(errno.EBUSY, f"{self.backing.name} is the content backing store already")
        if self._backing_name not in ("", req.name):
            text = f"the content of this instance is in {self._backing_name}: {req.name} cannot take its place"
            raise FluxError(errno.EINVAL, text)
        self._backing_name = req.name
        self.backing = Backing(self, req.name, req.batch)
        if self.broker is not None:
            self.broker.attrs.set("content.backing-module", req.name)
        if self.cache.dirty:
            self.backing.schedule()

    @request("unregister-backing")
    async def unregister_backing(self, msg: Message) -> None:
        backing = self._need_backing()
        try:
            await backing.flush()
        finally:
            backing.stop()
            self.backing = None
            if self.broker is not None:
                self.broker.attrs.remove("content.backing-module")

    @request("checkpoint-get")
    def checkpoint_get(self, msg: Message) -> Coroutine[Any, Any, Any]:
        if not self._leader:
            return self._ask_leader(msg)
        self._need_backing()
        return self._ask_backing("content-backing.checkpoint-get", None)

    @request("checkpoint-put", payload=CheckpointPut)
    def checkpoint_put(self, msg: Message, req: CheckpointPut) -> Coroutine[Any, Any, Any]:
        if not self._leader:
            return self._ask_leader(msg)
        return self._checkpoint(self._need_backing(), req.value)

    async def _checkpoint(self, backing: Backing, value: dict[str, Any]) -> Any:
        await backing.flush()
        failpoint("content.flushed")
        return await self._ask_backing("content-backing.checkpoint-put", {"value": value})

    async def _ask_backing(self, topic: str, payload: Any) -> Any:
        return await self.flux.rpc(topic, payload)

    async def _ask_leader(self, msg: Message) -> Any:
        return await self.flux.rpc(msg.topic, msg.payload, nodeid=0)

    def stats(self) -> dict[str, Any]:
        backing = {"flush-batch-count": self._upstream} if self.backing is None else self.backing.stats()
        return {**self.cache.stats(), **backing, "mmap": self.regions.stats()}
