"""Files as JSON objects, as archives in the KVS and jobspecs have them (RFC 37): out of a file system and into one."""

from __future__ import annotations

import json
import os
import stat
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

__all__ = ["Fileref", "pack", "unpack", "walk"]

Store = Callable[[bytes], str]
Load = Callable[[str], bytes]


class Fileref(dict[str, Any]):
    """The object of a file that goes with a jobspec.

    Args:
        data: an object, kept as JSON; or content, when encoding says in what form it is ("utf-8" or "base64") or it has
            a newline; else the path of a file to read.
        perms: of a file that is not read.

    Raises:
        OSError: the file cannot be read. ValueError: there is no such encoding.
    """

    def __init__(self, data: str | Mapping[str, Any], perms: int = 0o600, encoding: str | None = None) -> None:
        from flux.job._jobspec_build import file_entry

        super().__init__(file_entry(data, perms, encoding))


def walk(path: str) -> Iterator[str]:
    """The path, and all paths below it when it is a directory; a directory comes after what is in it."""
    if os.path.isdir(path) and not os.path.islink(path):
        for name in sorted(os.listdir(path)):
            yield from walk(os.path.join(path, name))
    yield path


def pack(path: str, store: Store, small: int = 1024, chunk: int = 1 << 20, holes: bool = True) -> dict[str, Any]:
    """The object of a file, directory or symbolic link.

    Args:
        path: as it is to be found in the archive, relative to the working directory.
        store: keeps a blob and gives its blobref.
        small: files of up to so many bytes are in the object itself.
        chunk: greatest blob in bytes; 0 for no limit.
        holes: leave holes out; otherwise blobs are all of a file, the last alone shorter than chunk.

    Raises:
        OSError: it cannot be read. ValueError: it is of another type, or its path would leave the archive.
    """
    if path.startswith("/") or {"", ".", ".."} & set(path.split("/")):
        raise ValueError(f"{path}: expected a relative path without '.' and '..'")
    found = os.lstat(path)
    obj: dict[str, Any] = {"path": path, "mode": found.st_mode}
    obj |= {"mtime": int(found.st_mtime), "ctime": int(found.st_ctime)}
    if stat.S_ISLNK(found.st_mode):
        return {**obj, "data": os.readlink(path)}
    if stat.S_ISDIR(found.st_mode):
        return obj
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path}: neither a file, a directory nor a symbolic link")
    with open(path, "rb") as stream:
        if found.st_size <= small:
            content = _inline(stream.read())
        else:
            extents = _extents(stream.fileno()) if holes else ((0, found.st_size),)
            content = _regions(stream.fileno(), store, chunk, extents)
    return {**obj, "size": found.st_size, **content}


def _inline(data: bytes) -> dict[str, Any]:
    if not data:
        return {}
    try:
        return {"encoding": "utf-8", "data": data.decode()}
    except UnicodeDecodeError:
        return {"encoding": "base64", "data": b64encode(data).decode()}


def _regions(fd: int, store: Store, chunk: int, extents: Iterable[tuple[int, int]]) -> dict[str, Any]:
    regions: list[Any] = []
    for start, end in extents:
        step = chunk or end - start
        for offset in range(start, end, step):
            data = os.pread(fd, min(step, end - offset), offset)
            regions.append([offset, len(data), store(data)])
    return {"encoding": "blobvec", "data": regions} if regions else {}


def _extents(fd: int) -> Iterator[tuple[int, int]]:
    """(start, end) of what is no hole."""
    end, size = 0, os.fstat(fd).st_size
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError:
            return  # nothing but a hole is left
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, end


def unpack(folder: str, path: str, obj: Mapping[str, Any], load: Load | None = None, overwrite: bool = False) -> None:
    """Make the file of an object below a folder.

    Args:
        load: gives the blob of a blobref; None where files have to be in their objects.
        overwrite: replace a file that is there, at once: whoever opens it finds all of the old one or of the new one.

    Raises:
        FileExistsError: it is there. OSError, ValueError, KeyError, TypeError: the object is malformed.
    """
    target = _inside(folder, path)
    mode = int(obj["mode"])
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFDIR:
        os.makedirs(target, stat.S_IMODE(mode), exist_ok=True)
    elif kind not in (stat.S_IFLNK, stat.S_IFREG):
        raise ValueError(f"mode {mode:o} is that of no file, directory or symbolic link")
    elif overwrite:
        _replace(target, obj, load)
    else:
        _make(target, obj, load)


def _inside(folder: str, path: str) -> str:
    if path.startswith("/") or {"", ".", ".."} & set(path.split("/")):
        raise ValueError("a path below the job's directory is expected, without '.' and '..'")
    target = os.path.join(folder, path)
    parent = os.path.dirname(target)
    os.makedirs(parent, exist_ok=True)
    if os.path.commonpath([os.path.realpath(folder), os.path.realpath(parent)]) != os.path.realpath(folder):
        raise ValueError("a symbolic link leads out of the directory")
    return target


def _replace(target: str, obj: Mapping[str, Any], load: Load | None) -> None:
    made = os.path.join(os.path.dirname(target), f".{os.urandom(8).hex()}")
    try:
        _make(made, obj, load)
        os.replace(made, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(made)
        raise


def _make(target: str, obj: Mapping[str, Any], load: Load | None) -> None:
    mode = int(obj["mode"])
    if stat.S_ISLNK(mode):
        os.symlink(obj["data"], target)
    else:
        _write(target, obj, stat.S_IMODE(mode), load)


def _write(target: str, obj: Mapping[str, Any], perms: int, load: Load | None) -> None:
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        for offset, data in _contents(obj, load):
            stream.seek(offset)
            stream.write(data)
        stream.flush()
        os.fchmod(stream.fileno(), perms)
        if "size" in obj:
            os.truncate(stream.fileno(), int(obj["size"]))


def _contents(obj: Mapping[str, Any], load: Load | None) -> Iterator[tuple[int, bytes]]:
    data, encoding = obj.get("data", ""), obj.get("encoding")
    if encoding == "base64":
        yield 0, b64decode(data, validate=True)
    elif encoding == "blobvec" and load is not None:
        for offset, _size, ref in data:
            yield int(offset), load(ref)
    elif encoding in (None, "utf-8"):
        yield 0, data.encode() if isinstance(data, str) else json.dumps(data).encode()
    else:
        raise ValueError(f"encoding {encoding} is neither utf-8 nor base64")
