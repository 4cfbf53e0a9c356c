"""Directories of a tree, for those who go through all of it (RFC 10, RFC 11)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from flux.blobs import load_many
from flux.errors import FluxError
from flux.kvs.hdir import Hdir, decode_dir
from flux.kvs.treeobj import TreeObj

if TYPE_CHECKING:
    from flux.core.base import Handle

__all__ = ["Failed", "child_key", "load_dirs", "refuse"]

Failed = Callable[[str, OSError], None]
"""Called with a key and what is wrong with it; raises, or has it passed over."""


def child_key(key: str, name: str) -> str:
    """Key of a name in a directory; that of the root is ""."""
    return f"{key}.{name}" if key else name


def load_dirs(
    handle: Handle, dirs: Iterable[tuple[str, str]], window: int, failed: Failed, bypass_cache: bool = False
) -> Iterator[tuple[str, dict[str, TreeObj] | Hdir]]:
    """Stored directories given as (key, blobref), with what is in them: (key, entries or buckets)."""
    wanted = ((item, item[1]) for item in dirs)
    for (key, _ref), blob in load_many(handle, wanted, window, bypass_cache):
        try:
            if isinstance(blob, OSError):
                raise blob
            node = decode_dir(blob)
        except OSError as exc:
            failed(key, exc)
            continue
        yield key, node


def refuse(key: str, error: OSError) -> None:
    """A `Failed` that goes no further."""
    raise FluxError(error.errno or 0, f"{key or '.'}: {error.strerror}") from None
