"""What a lookup or a commit misses: it is loaded, and the attempt made again."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from flux.blobs import load_batch
from flux.content import digest_of, load_async
from flux.errors import FluxError
from flux.kvs.hdir import Hdir
from flux_plugins.kvs.cache import ENOTRECOVERABLE, Missing, Unread
from flux_plugins.kvs.namespaces import Unknown
from flux_plugins.kvs.packed import Packed

if TYPE_CHECKING:
    from flux_plugins.kvs.module import Kvs

__all__ = ["Loader"]

T = TypeVar("T")

_LOADS_AT_ONCE = 64


class Loader:
    """Gets what is not in memory.

    Args:
        kvs: the module; gives handle and cache.
    """

    def __init__(self, kvs: Kvs) -> None:
        self._kvs = kvs

    def attempt(self, function: Callable[[], T]) -> Any:
        """The result of function, or a coroutine that loads what it misses and tries again."""
        try:
            return function()
        except (Missing, Unknown) as exc:
            return self._retry(function, exc)

    async def _retry(self, function: Callable[[], T], missing: Missing | Unknown) -> T:
        follower = self._kvs.follower
        loaded: dict[str, bytes] = {}
        while True:
            if isinstance(missing, Unread):
                self._kvs.cache.gathered[missing.refs[0]] = await self._gather(missing.refs[0])
            elif isinstance(missing, Missing) and missing.names and follower is not None:
                await self._kvs.paths.load(missing.refs[0], missing.names, loaded)
            elif isinstance(missing, Missing):
                await self.load(missing.refs, loaded)
            else:
                assert follower is not None
                await follower.fetch(missing.name)
            try:
                return self._kvs.cache.lending(loaded, function)
            except (Missing, Unknown) as exc:
                missing = exc

    async def load(self, refs: list[str], held: dict[str, bytes] | None = None) -> None:
        """Load blobs into the cache, and into `held`. FluxError ENOTRECOVERABLE when one is nowhere."""
        unstored = self._kvs.leader.unstored if self._kvs.leader is not None else {}
        for ref in unstored.keys() & set(refs):
            self.keep(ref, unstored[ref], held)
        wanted = [ref for ref in dict.fromkeys(refs) if ref not in unstored]
        try:
            for ref, blob in zip(wanted, await self._load(wanted), strict=True):
                self.keep(ref, blob, held)
        except FluxError as exc:
            if exc.errno == errno.ENOENT:
                raise FluxError(ENOTRECOVERABLE, f"{', '.join(wanted)}: not in the content store") from None
            raise

    async def _load(self, refs: list[str]) -> list[bytes]:
        if self._kvs.leader is not None and len(refs) > 1:
            return await load_batch(self._kvs.flux, refs)
        requests = [load_async(self._kvs.flux, digest_of(ref)) for ref in refs]
        return [await request for request in requests]

    def keep(self, ref: str, blob: bytes, held: dict[str, bytes] | None) -> None:
        """Keep a blob in the cache, and in `held`."""
        self._kvs.cache.put_blob(ref, blob)
        if held is not None:
            held[ref] = blob

    async def _gather(self, ref: str) -> Packed:
        """All entries of a large directory. Errors: see `load`."""
        entries: Packed = {}
        todo = [ref]
        while todo:
            batch, todo = todo[-_LOADS_AT_ONCE:], todo[:-_LOADS_AT_ONCE]
            for node in await self._nodes(batch):
                if isinstance(node, Hdir):
                    todo += node.stored
                else:
                    entries.update(node)
        return entries

    async def _nodes(self, refs: list[str]) -> list[Packed | Hdir]:
        loaded: dict[str, bytes] = {}
        while True:
            try:
                return self._kvs.cache.lending(loaded, lambda: self._kvs.cache.nodes(refs))
            except Missing as missing:
                await self.load(missing.refs, loaded)
