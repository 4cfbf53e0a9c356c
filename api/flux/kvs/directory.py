"""`KVSDir`: a KVS directory as a mutable mapping of names to values (manual page ``flux.kvs``)."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from flux.constants import FLUX_KVS_READDIR
from flux.errors import FluxError
from flux.kvs.requests import commit_async, lookup_async
from flux.kvs.treeobj import TreeObj
from flux.kvs.txn import KVSTxn

if TYPE_CHECKING:
    from flux.core.base import Handle

__all__ = ["KVSDir", "inner_walk", "walk"]


class KVSDir(MutableMapping[str, Any]):
    """A directory: reading looks keys up, writing gathers operations that `commit` sends.

    Args:
        flux_handle: a blocking handle.
        path: key of the directory; "." for the root.
        namespace: default $FLUX_KVS_NAMESPACE, else "primary".

    Used as a context manager it commits when the block ends without an exception.

    Raises:
        FluxError: ENOENT, ENOTDIR when path is no directory.
    """

    def __init__(
        self, flux_handle: Handle | None = None, path: str = ".", handle: Any = None, *, namespace: str | None = None
    ) -> None:
        if flux_handle is None:
            raise ValueError("a KVSDir needs a Flux handle")
        self.fhdl = flux_handle
        self.path = path
        self.namespace = namespace
        self._txn = KVSTxn()
        self._read()

    def _read(self) -> dict[str, TreeObj]:
        return lookup_async(self.fhdl, self.path, FLUX_KVS_READDIR, self.namespace).entries()

    def key_at(self, key: str) -> str:
        """Full key of a name in this directory."""
        base = self.path.strip(".")
        return f"{base}.{key}" if base else key

    # -- mapping

    def __getitem__(self, key: str) -> Any:
        from flux.kvs import get

        try:
            return get(self.fhdl, self.key_at(key), self.namespace)
        except FluxError as exc:
            if exc.errno == errno.ENOENT:
                raise KeyError(f"{key} not found under directory {self.path}") from None
            raise

    def __setitem__(self, key: str, value: Any) -> None:
        self._txn.put(self.key_at(key), value)

    def __delitem__(self, key: str) -> None:
        self._txn.unlink(self.key_at(key))

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._read()))

    def __len__(self) -> int:
        return len(self._read())

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.exists(key)

    def exists(self, name: str) -> bool:
        """True when a committed key of that name is in this directory."""
        from flux.kvs import exists

        return exists(self.fhdl, self.key_at(name), self.namespace)

    # -- listing

    def files(self) -> Iterator[str]:
        """Names that are no directories."""
        return (name for name, entry in sorted(self._read().items()) if not _is_dir(entry))

    def directories(self) -> Iterator[str]:
        """Names of the directories in this one."""
        return (name for name, entry in sorted(self._read().items()) if _is_dir(entry))

    def list_all(self) -> tuple[list[str], list[str]]:
        """(names that are no directories, names of directories), read at one moment."""
        entries = sorted(self._read().items())
        files = [name for name, entry in entries if not _is_dir(entry)]
        return files, [name for name, entry in entries if _is_dir(entry)]

    # -- writing

    def fill(self, contents: Mapping[str, Any]) -> None:
        """Put keys into this directory and commit; "dir.file" makes sub-directories, dicts are JSON values."""
        if not contents:
            raise ValueError("there is nothing to fill the directory with")
        with self as directory:
            for key, value in contents.items():
                directory[key] = value

    def mkdir(self, key: str, contents: Mapping[str, Any] | None = None) -> None:
        """Create a sub-directory and commit, with contents as for `fill`."""
        self._txn.mkdir(self.key_at(key))
        self.commit()
        if contents:
            KVSDir(self.fhdl, self.key_at(key), namespace=self.namespace).fill(contents)

    def commit(self, flags: int = 0) -> int:
        """Commit what was written to this directory; gives 0."""
        commit_async(self.fhdl, self._txn, flags, self.namespace).get()
        return 0

    def __enter__(self) -> KVSDir:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *_exc: object) -> None:
        if exc_type is None:
            self.commit()
        else:
            self._txn.clear()


def _is_dir(entry: TreeObj) -> bool:
    return entry["type"] in ("dir", "dirref")


def walk(
    directory: KVSDir | str, topdown: bool = False, flux_handle: Handle | None = None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """See `flux.kvs.walk`."""
    if not isinstance(directory, KVSDir):
        if flux_handle is None:
            raise ValueError("walking a key needs a Flux handle")
        directory = KVSDir(flux_handle, directory)
    return inner_walk(directory, "", topdown)


def inner_walk(kvsdir: KVSDir, curr_dir: str, topdown: bool = False) -> Iterator[tuple[str, list[str], list[str]]]:
    """See `flux.kvs.inner_walk`."""
    files, dirs = kvsdir.list_all()
    if topdown:
        yield curr_dir, dirs, files
    for name in dirs:
        path = f"{curr_dir}.{name}" if curr_dir else name
        child = KVSDir(kvsdir.fhdl, kvsdir.key_at(name), namespace=kvsdir.namespace)
        yield from inner_walk(child, path, topdown)
    if not topdown:
        yield curr_dir, dirs, files
