"""All of a key's directories with one request: what a lookup above rank 0 misses, it gets from the rank above.

Else each directory on the way would be a request to the content service, which only then tells of the next one. A
request is the digest of the first directory that is missing and the rest of the key; the answer is packed blobs
(`flux.blobs`), from that directory on, with those of the value if there is one. Each rank on the way to rank 0 keeps
them, and asks once for all who ask it meanwhile.
"""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any

from flux.blobs import pack, unpack
from flux.content import RawRPC, digest_of, ref_of
from flux.core.steady import SteadyRPC
from flux.errors import FluxError, ProtocolError
from flux.future import Future
from flux.hashes import DIGEST_SIZES
from flux.kvs.treeobj import blobref
from flux.message import NODEID_UPSTREAM
from flux_plugins.kvs.cache import Missing
from flux_plugins.kvs.keys import split_key
from flux_plugins.kvs.lookup import first_blobs

if TYPE_CHECKING:
    from flux_plugins.kvs.cache import TreeCache
    from flux_plugins.kvs.module import Kvs

__all__ = ["Paths", "path_blobs"]


class Paths:
    """What is asked of the rank above, and answered to those below.

    Args:
        kvs: the module; gives handle and cache.
    """

    def __init__(self, kvs: Kvs) -> None:
        self._kvs = kvs
        self._asked: dict[bytes, asyncio.Future[list[bytes]]] = {}

    async def load(self, ref: str, names: list[str], held: dict[str, bytes]) -> None:
        """Load a directory, and what is on the way from it to a key, into the cache and into `held`.

        FluxError ENOTRECOVERABLE when something on the way is nowhere.
        """
        question = digest_of(ref) + ".".join(names).encode()
        try:
            blobs = await asyncio.shield(self._asked.get(question) or self._ask(question))
        except FluxError as exc:
            if exc.errno != errno.ENOSYS:
                raise
            blobs = []  # the module is not there just now: the content service is
        for blob in blobs:
            self._kvs.loader.keep(blobref(blob, self._kvs.hash_name), blob, held)
        if ref not in held:
            await self._kvs.loader.load([ref], held)

    def _ask(self, question: bytes) -> asyncio.Future[list[bytes]]:
        flux = self._kvs.flux
        asked = self._asked[question] = flux.loop.create_future()
        request = SteadyRPC(flux, lambda: RawRPC(flux, "kvs.load-path", question, NODEID_UPSTREAM))
        request.then(self._answered, question)
        return asked

    def _answered(self, request: Future, question: bytes) -> None:
        asked = self._asked.pop(question)
        try:
            asked.set_result([blob for blob in unpack(request.get()) if blob is not None])
        except FluxError as exc:
            asked.set_exception(exc)
            asked.exception()  # seen, also when whoever waited has gone away

    def answer(self, question: bytes) -> Any:
        """The packed blobs for a rank below, or a coroutine that gives them. ProtocolError for no question."""
        size = DIGEST_SIZES[self._kvs.hash_name]
        ref = ref_of(question[:size], self._kvs.hash_name)
        try:
            digest_of(ref)
            names = split_key(question[size:].decode())
        except (OSError, ValueError):
            raise ProtocolError(f"a digest of {size} bytes and a key were expected") from None
        return self._kvs.loader.attempt(lambda: pack(path_blobs(self._kvs.cache, ref, names)))


def path_blobs(cache: TreeCache, ref: str, names: list[str]) -> list[bytes]:
    """The blobs of a stored directory, of those below it on the way to a key, and those that its value begins with.

    Errors: see `TreeCache.node`.
    """
    blobs: list[bytes] = []
    for i, name in enumerate(names):
        passed: list[str] = []
        try:
            entry = cache.entry(ref, name, passed)
            blobs += cache.blobs(passed)
        except Missing as missing:
            missing.names = names[i:]
            raise
        kind = None if entry is None else entry["type"]
        refs = entry["data"] if entry is not None and kind in ("dirref", "valref") else []
        if kind == "valref" and name is names[-1]:
            return blobs + first_blobs(cache, refs, 0, len(refs))
        if kind != "dirref" or len(refs) != 1:
            break
        ref = refs[0]
    return blobs
