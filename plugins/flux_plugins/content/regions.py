"""Files whose chunks rank 0 serves as blobs without storing them (content.mmap-add, used by flux archive --mmap).

The files are read, not mapped: memory mapped from a file that is cut short meanwhile kills who touches it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Any, NamedTuple

from flux.errors import FluxError

__all__ = ["Region", "Regions"]


class Chunk(NamedTuple):
    """Where a blob lies in a file, in bytes."""

    region: Region
    offset: int
    size: int


class Region:
    """An open file and the digests of its chunks, in order.

    Args:
        chunksize: bytes of a blob; 0 makes the file one blob.

    Raises:
        FluxError: EINVAL for a path that is not absolute or no regular file, EFBIG for blobs above the limit.
        OSError: what open(2) and read(2) say.
    """

    def __init__(self, path: str, chunksize: int, limit: int, hasher: Callable[[bytes], Any]) -> None:
        if not os.path.isabs(path):
            raise FluxError(errno.EINVAL, f"the path of a file to map is absolute, unlike {path!r}")
        self.path = path
        self.file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self.chunks = self._digest(chunksize, limit, hasher)
        except BaseException:
            os.close(self.file)
            raise

    def _digest(self, chunksize: int, limit: int, hasher: Callable[[bytes], Any]) -> list[tuple[bytes, Chunk]]:
        status = os.fstat(self.file)
        if not stat.S_ISREG(status.st_mode):
            raise FluxError(errno.EINVAL, f"{self.path} is no regular file")
        size = chunksize or status.st_size or 1
        if size > limit:
            raise FluxError(errno.EFBIG, f"a blob has at most {limit} bytes, not {size}: use a chunk size")
        found = []
        for offset in range(0, status.st_size, size):
            data = os.pread(self.file, size, offset)
            found.append((hasher(data).digest(), Chunk(self, offset, len(data))))
        return found

    def close(self) -> None:
        os.close(self.file)


class Regions:
    """The mapped files, by tag."""

    def __init__(self, hasher: Callable[[bytes], Any]) -> None:
        self._hasher = hasher
        self.tags: dict[str, list[Region]] = {}
        self._chunks: dict[bytes, Chunk] = {}

    def add(self, tag: str, region: Region) -> None:
        self.tags.setdefault(tag, []).append(region)
        self._chunks.update(region.chunks)

    def remove(self, tag: str) -> None:
        """Close the files of a tag; one that is unknown has none."""
        for region in self.tags.pop(tag, ()):
            region.close()
        self._chunks = {d: c for regions in self.tags.values() for region in regions for d, c in region.chunks}

    def get(self, digest: bytes) -> bytes | None:
        """The blob, or None when no file has it, or not any more."""
        chunk = self._chunks.get(digest)
        if chunk is None:
            return None
        data = os.pread(chunk.region.file, chunk.size, chunk.offset)
        return data if self._hasher(data).digest() == digest else None

    def close(self) -> None:
        for tag in list(self.tags):
            self.remove(tag)

    def stats(self) -> dict[str, Any]:
        tags = {tag: [region.path for region in regions] for tag, regions in self.tags.items()}
        return {"tags": tags, "blobs": len(self._chunks)}
