"""Many blobs in one request, for those who go through whole trees: `load-many`, `store-many`, `validate-many`.

Requests of this project's content service and backing stores. Digests are joined, blobs are packed: each behind its
length, 4 bytes, little endian, and one that cannot be given is the length `MISSING` alone. An answer to load-many may
end early, when it is long enough; the rest is asked for again. Where these requests are unknown, as in stock Flux, the
same is done blob by blob.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from flux.content import RawRPC, digest_of, load_async, store_async
from flux.errors import FluxError, ProtocolError
from flux.hashes import DIGEST_SIZES
from flux.kvs.treeobj import blobref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from flux.core.base import Handle

    Item = TypeVar("Item")

__all__ = ["ANSWER_BYTES", "Storer", "load_batch", "load_many", "pack", "split_digests", "unpack", "validate_many"]


ANSWER_BYTES = 1 << 20
"""An answer to load-many takes no further blob from so many bytes on."""
MISSING = 0xFFFFFFFF
_AT_ONCE = 128
_STORE_BYTES = 1 << 18


def pack(blobs: Iterable[bytes | None]) -> bytes:
    """Blobs, or None for what cannot be given, as the payload of one message."""
    parts: list[bytes] = []
    for blob in blobs:
        parts.append((MISSING if blob is None else len(blob)).to_bytes(4, "little"))
        parts.append(blob or b"")
    return b"".join(parts)


def unpack(data: bytes) -> list[bytes | None]:
    """What `pack` was given. ProtocolError for anything else."""
    blobs: list[bytes | None] = []
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "little")
        at += 4
        if length == MISSING:
            blobs.append(None)
            continue
        blobs.append(data[at : at + length])
        at += length
    if at != len(data):
        raise ProtocolError("packed blobs are each behind their length, and these are cut short")
    return blobs


def split_digests(data: bytes, size: int) -> list[bytes]:
    """Digests of size bytes that were joined. ProtocolError when they are not that long."""
    if len(data) % size:
        raise ProtocolError(f"{len(data)} bytes are no digests of {size} bytes each")
    return [data[at : at + size] for at in range(0, len(data), size)]


def _service(bypass_cache: bool) -> str:
    return "content-backing" if bypass_cache else "content"


def load_many(
    handle: Handle, wanted: Iterable[tuple[Item, str]], window: int, bypass_cache: bool = False
) -> Iterator[tuple[Item, bytes | OSError]]:
    """Load blobs, given as (anything, blobref), in order: (the same thing, the blob or why there is none).

    Args:
        handle: a blocking handle of the instance owner.
        wanted: is taken from as there is room.
        window: most requests under way.
        bypass_cache: ask the backing store on rank 0, not the cache there.
    """
    source = iter(wanted)
    under_way: deque[tuple[list[tuple[Item, str]], RawRPC]] = deque()

    def ask(batch: list[tuple[Item, str]]) -> tuple[list[tuple[Item, str]], RawRPC]:
        digests = b"".join([digest_of(ref) for _, ref in batch])
        return batch, RawRPC(handle, f"{_service(bypass_cache)}.load-many", digests, nodeid=0)

    while True:
        while len(under_way) < window and (batch := list(islice(source, _AT_ONCE))):
            under_way.append(ask(batch))
        if not under_way:
            return
        batch, request = under_way.popleft()
        blobs = _loaded(handle, batch, request, bypass_cache)
        if len(blobs) < len(batch):
            under_way.appendleft(ask(batch[len(blobs) :]))
        for (item, _ref), blob in zip(batch, blobs, strict=False):
            yield item, blob


async def load_batch(handle: Handle, refs: Sequence[str]) -> list[bytes]:
    """Blobs by their blobrefs, in order, under asyncio and on rank 0. FluxError ENOENT, EIO when one is not there."""
    blobs: list[bytes] = []
    while left := refs[len(blobs) :]:
        answer: bytes = await RawRPC(handle, "content.load-many", b"".join(map(digest_of, left)))
        for ref, blob in zip(left, unpack(answer), strict=False):
            blobs.append(await load_async(handle, digest_of(ref)) if blob is None else blob)
    return blobs


def _loaded(
    handle: Handle, batch: list[tuple[Item, str]], request: RawRPC, bypass_cache: bool
) -> list[bytes | OSError]:
    try:
        blobs = unpack(request.get())
    except FluxError as exc:
        if exc.errno != errno.ENOSYS:
            return [exc] * len(batch)
        blobs = [None] * len(batch)
    if not blobs or len(blobs) > len(batch):
        raise ProtocolError(f"{len(blobs)} blobs are no answer to {len(batch)} digests")
    found = [
        load_async(handle, digest_of(ref), bypass_cache) if blob is None else blob
        for (_, ref), blob in zip(batch, blobs, strict=False)
    ]
    return [_result(blob) if isinstance(blob, RawRPC) else blob for blob in found]


def _result(load: RawRPC) -> bytes | OSError:
    try:
        blob: bytes = load.get()
    except OSError as exc:
        return exc
    return blob


def validate_many(handle: Handle, wanted: Iterable[tuple[Item, str]], window: int) -> Iterator[tuple[Item, OSError]]:
    """Those of the blobs, given as (anything, blobref), that the backing store has not got or not whole, and why.

    Where validate-many is unknown it is found out whether they are there, not whether they are whole.
    """
    source = iter(wanted)
    under_way: deque[tuple[list[tuple[Item, str]], RawRPC]] = deque()
    while True:
        while len(under_way) < window and (batch := list(islice(source, _AT_ONCE))):
            digests = b"".join([digest_of(ref) for _, ref in batch])
            under_way.append((batch, RawRPC(handle, "content-backing.validate-many", digests, nodeid=0)))
        if not under_way:
            return
        batch, request = under_way.popleft()
        yield from _invalid(handle, batch, request)


def _invalid(handle: Handle, batch: list[tuple[Item, str]], request: RawRPC) -> Iterator[tuple[Item, OSError]]:
    topic, suspects = "validate", batch
    try:
        sound = request.get()
        topic, suspects = "load", [pair for pair, whole in zip(batch, sound, strict=True) if not whole]
    except FluxError as exc:
        if exc.errno != errno.ENOSYS:
            raise
    asked = [RawRPC(handle, f"content-backing.{topic}", digest_of(ref), nodeid=0) for _, ref in suspects]
    for (item, _ref), request in zip(suspects, asked, strict=True):
        result = _result(request)
        if isinstance(result, OSError):
            yield item, result


class Storer:
    """Stores blobs, many with each request.

    Args:
        handle: a blocking handle of the instance owner.
        hash_name: the instance's content hash.
        window: most requests under way.
        bypass_cache: tell the backing store on rank 0, not the cache there.

    Attributes:
        count: blobs stored.
    """

    def __init__(self, handle: Handle, hash_name: str, window: int, bypass_cache: bool = False) -> None:
        if hash_name not in DIGEST_SIZES:
            raise FluxError(errno.EINVAL, f"{hash_name!r} is no hash: there are {', '.join(DIGEST_SIZES)}")
        self.handle = handle
        self.hash_name = hash_name
        self.window = window
        self.bypass_cache = bypass_cache
        self.count = 0
        self._gathered: list[bytes] = []
        self._bytes = 0
        self._under_way: deque[tuple[list[bytes], RawRPC]] = deque()

    def store(self, blob: bytes) -> str:
        """Store a blob some time before `finish` returns; gives its blobref. Errors of earlier ones are raised here."""
        self._gathered.append(blob)
        self._bytes += len(blob)
        self.count += 1
        if self._bytes >= _STORE_BYTES or len(self._gathered) >= 4 * _AT_ONCE:
            self._send()
        return blobref(blob, self.hash_name)

    def _send(self) -> None:
        blobs, self._gathered, self._bytes = self._gathered, [], 0
        request = RawRPC(self.handle, f"{_service(self.bypass_cache)}.store-many", pack(blobs), nodeid=0)
        self._under_way.append((blobs, request))
        while len(self._under_way) > self.window:
            self._settle()

    def _settle(self) -> None:
        blobs, request = self._under_way.popleft()
        try:
            request.get()
        except FluxError as exc:
            if exc.errno != errno.ENOSYS:
                raise
            for single in [store_async(self.handle, blob, self.bypass_cache) for blob in blobs]:
                single.get()

    def finish(self) -> None:
        """Wait until everything is stored. FluxError: those of content.store."""
        if self._gathered:
            self._send()
        while self._under_way:
            self._settle()
