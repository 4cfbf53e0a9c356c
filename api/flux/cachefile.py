"""Small files that spare a process work it or another one did before; losing them costs time only.

They live in `$XDG_CACHE_HOME/flux-kernel/`, else `~/.cache/flux-kernel/`. What is read here decides
which code gets imported, so a file that somebody else could have written is ignored.
"""

from __future__ import annotations

import os
import stat
from binascii import crc32

TYPE_CHECKING = False  # a reader that needs no structs should not pay for typing and msgspec
if TYPE_CHECKING:
    from typing import TypeVar

    import msgspec

    T = TypeVar("T")

KEEP = 128  # files; the oldest go first

FileStamp = tuple[str, int, int]  # path, mtime in ns, size in bytes; (path, -1, -1) when absent


def cache_dir() -> str:
    """The directory of the cache, "" when the environment names neither a cache nor a home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        home = os.environ.get("HOME", "")
        base = os.path.join(home, ".cache") if os.path.isabs(home) else ""
    return os.path.join(base, "flux-kernel") if base else ""


def cache_path(prefix: str, key: str) -> str:
    """The file for `key`, "" without a cache. Two keys may share a file, so a record repeats its own key."""
    directory = cache_dir()
    return os.path.join(directory, f"{prefix}-{crc32(key.encode()):08x}.json") if directory else ""


def read(path: str, type: type[T]) -> T | None:
    """The record in `path`; None when absent, damaged, of another version or not safely ours."""
    data = read_bytes(path)
    if data is None:
        return None
    import msgspec

    try:
        return msgspec.json.decode(data, type=type)
    except msgspec.DecodeError:
        return None


def read_bytes(path: str) -> bytes | None:
    """The JSON text of a record; None when absent or not safely ours."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    with open(fd, "rb") as stream:
        info = os.fstat(fd)
        if info.st_uid != os.geteuid() or info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return None
        try:
            return stream.read()
        except OSError:
            return None


def write(path: str, record: msgspec.Struct) -> bool:
    """Replace `path` atomically; False when it cannot be written (no cache, full disk, read-only home)."""
    if not path:
        return False
    import msgspec

    temporary = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with open(fd, "wb") as stream:
            stream.write(msgspec.json.encode(record))
        os.replace(temporary, path)
        _prune(os.path.dirname(path))
    except OSError:
        _discard(temporary)
        return False
    return True


def stamp(path: str) -> FileStamp:
    """What tells one state of a file or directory from the next."""
    try:
        info = os.stat(path)
    except OSError:
        return path, -1, -1
    return path, info.st_mtime_ns, info.st_size


def _prune(directory: str) -> None:
    with os.scandir(directory) as entries:
        files = [(entry.stat().st_mtime_ns, entry.path) for entry in entries if entry.is_file()]
    for _, path in sorted(files)[:-KEEP]:
        _discard(path)


def _discard(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:  # already gone, or never created: another process prunes too
        pass
