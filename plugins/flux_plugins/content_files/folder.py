"""A folder: one file per blob, named by its blobref, and two with the checkpoints. Blocking.

A file appears under its name only when it is whole; what a crash leaves half written is removed at the next start.
Blobs and the newest checkpoint, `kvs-primary`, are as flux-core's content-files has them, so that either reads what the
other has written. The few checkpoints before it are in `checkpoints`, which is written first.
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

import msgspec

from flux.backing import Blobs
from flux.collecting import CollectingStore, MemoryCollector
from flux.content import digest_of, ref_of
from flux.errors import FluxError
from flux.failpoint import failpoint
from flux.reserve import Reserve

__all__ = ["Folder"]

_KEPT_CHECKPOINTS = 5
_PARTIAL = ".partial"
_HISTORY = "checkpoints"
_NEWEST = "kvs-primary"
T = TypeVar("T")


class Folder(CollectingStore):
    """The files of a folder, which is made when it is not there.

    Args:
        hash_name: what blobrefs begin with.
        durable: True to survive a crash of the machine, not only of the broker.
        reserve: bytes to keep aside for when the disk is full.

    Raises:
        FluxError: EIO, or ENOSPC, with the system's words, here and in every method.
    """

    def __init__(self, path: str, hash_name: str, durable: bool = True, *, reserve: int = 0) -> None:
        self.path = path
        self.hash_name = hash_name
        self.durable = durable
        self._unsynced: set[str] = set()
        self.collector = MemoryCollector(self._digests, self._remove)
        try:
            os.makedirs(path, mode=0o700, exist_ok=True)
            for name in os.listdir(path):
                if name.endswith(_PARTIAL):
                    os.unlink(os.path.join(path, name))
            self._reserve = Reserve(f"{path}.reserve", reserve)
            self.full = not self._reserve.take()
        except OSError as exc:
            self._fail(exc)

    def _fail(self, exc: OSError) -> NoReturn:
        if exc.errno == errno.ENOENT:
            raise FluxError(errno.ENOENT) from None
        code = errno.ENOSPC if exc.errno in (errno.ENOSPC, errno.EDQUOT) else errno.EIO
        raise FluxError(code, f"{exc.filename or self.path}: {exc.strerror}") from None

    def _file(self, digest: bytes) -> str:
        return os.path.join(self.path, ref_of(digest, self.hash_name))

    def _read(self, path: str) -> bytes:
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError as exc:
            self._fail(exc)

    def _write(self, path: str, data: bytes) -> None:
        partial = path + _PARTIAL
        try:
            with open(partial, "wb") as file:
                file.write(data)
            failpoint("files.write")
            os.rename(partial, path)
        except OSError as exc:
            self._discard(partial)
            self._fail(exc)
        self._unsynced.add(path)

    def _discard(self, partial: str) -> None:
        try:
            os.unlink(partial)
        except FileNotFoundError:
            pass

    def load(self, digest: bytes) -> bytes:
        blob = self._read(self._file(digest))
        self.collector.touch(digest)
        return blob

    def validate(self, digest: bytes) -> None:
        try:
            os.stat(self._file(digest))
        except OSError as exc:
            self._fail(exc)

    def store(self, blobs: Blobs) -> None:
        if self.full and not blobs:
            self.full = not self._reserve.take()
        self._reserve.write(self, lambda: self._store(blobs))
        self.collector.stored += len(blobs)

    def _store(self, blobs: Blobs) -> None:
        for digest, blob in blobs:
            path = self._file(digest)
            if not os.path.exists(path):
                self._write(path, blob)
            self.collector.touch(digest)

    def _digests(self) -> Iterator[bytes]:
        try:
            with os.scandir(self.path) as entries:
                for entry in entries:
                    with suppress(FluxError):  # not a blob
                        yield digest_of(entry.name)
        except OSError as exc:
            self._fail(exc)

    def _remove(self, digests: list[bytes]) -> None:
        for digest in digests:
            path = self._file(digest)
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass
            except OSError as exc:
                self._fail(exc)
            self._unsynced.discard(path)

    # -- checkpoints

    def _sync(self) -> None:
        """Put every file of which that is not known on stable storage, and then the folder."""
        if not self.durable:
            return
        try:
            for path in [*self._unsynced, self.path]:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        except OSError as exc:
            self._fail(exc)
        self._unsynced.clear()

    def checkpoints(self) -> list[dict[str, Any]]:
        known = self._decode(_HISTORY, list[dict[str, Any]]) or []
        newest = self._decode(_NEWEST, dict[str, Any])
        if newest in known:
            return known[known.index(newest) :]  # those before it were not recorded to the end
        found = [newest, *known] if newest else known
        if not found:
            raise FluxError(errno.ENOENT, "there is no checkpoint")
        return found

    def _decode(self, name: str, kind: type[T]) -> T | None:
        """What a file of checkpoints holds; None when there is none."""
        path = os.path.join(self.path, name)
        try:
            return msgspec.json.decode(self._read(path), type=kind)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as exc:
            raise FluxError(errno.EIO, f"{path} is damaged: {exc}") from None

    def put_checkpoint(self, value: dict[str, Any], alone: bool = False) -> None:
        try:
            older = [] if alone else self.checkpoints()
        except FileNotFoundError:
            older = []
        self._sync()
        kept = [value, *older][:_KEPT_CHECKPOINTS]
        for name, content in ((_HISTORY, kept), (_NEWEST, value)):
            path, data = os.path.join(self.path, name), msgspec.json.encode(content)
            self._reserve.write(self, functools.partial(self._write, path, data))
        self._sync()

    def stats(self) -> dict[str, Any]:
        try:
            names = os.listdir(self.path)
        except OSError as exc:
            self._fail(exc)
        return {"object_count": sum(name.startswith(f"{self.hash_name}-") for name in names)}

    def close(self) -> None:
        self._unsynced.clear()
        self._reserve.release()
