"""Directories as they are stored: whole, or in buckets when they are large (RFC 11, dir and hdir).

A dir of more than *maxdirent* entries is stored as an hdir: a fixed number of buckets, each a stored directory of its
own, which a name's hash picks. A bucket that gets large is an hdir in its turn, by another byte of the hash. So what a
change of one entry has to store does not grow with the directory. The form depends on nothing but the entries: equal
directories have equal addresses, whatever led to them.

It is that of the RFC, with `func` "stem-LEVEL", null for empty buckets, and `total`, the number of entries. The first
levels hash a name without its last characters, so that names in a row are in one bucket, and are changed together at
the cost of one; the levels below hash all of it. `func` "sha1-LEVEL", of all of it at every level, is that of stores
which were written before. An hdir is only ever what a dirref leads to, never an entry itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import sha1
from typing import Any, Literal, NamedTuple

import msgspec

from flux.errors import ProtocolError
from flux.kvs import treeobj
from flux.kvs.treeobj import TreeObj

__all__ = [
    "MAXDIRENT",
    "Hdir",
    "bucket_of",
    "decode_dir",
    "decode_hdir",
    "encode_hdir",
    "hashed_part",
    "limit_at",
    "split",
    "store_dir",
]

MAXDIRENT = 1024
"""Most entries of a directory that is stored whole, unless the attribute kvs.maxdirent says otherwise."""

_SIZE = 32
_SHARE = 8
_LEVELS = 20
_WHOLE, _STEM = "sha1", "stem"
_STEM_LEVELS, _STEM_CUT = 4, 2


class Hdir(NamedTuple):
    """A directory in buckets.

    Attributes:
        level: which byte of a hash of a name picks its bucket.
        total: number of entries in all buckets.
        refs: blobref of each bucket; None of an empty one.
        func: "stem", or "sha1" of one that was made when there was no other.
    """

    level: int
    total: int
    refs: list[str | None]
    func: str = _STEM

    @property
    def stored(self) -> list[str]:
        """The buckets that are not empty."""
        return [ref for ref in self.refs if ref is not None]


def bucket_of(name: str, level: int, size: int = _SIZE, func: str = _STEM) -> int:
    """Number of the bucket that a name is in."""
    return _digest(hashed_part(name, level, func))[level] % size


def hashed_part(name: str, level: int, func: str = _STEM) -> str:
    """What of a name picks its bucket: names that have it in common are in one."""
    return name[:-_STEM_CUT] if func == _STEM and level < _STEM_LEVELS else name


@lru_cache(4096)
def _digest(name: str) -> bytes:
    return sha1(name.encode("utf-8", "surrogatepass"), usedforsecurity=False).digest()


def limit_at(level: int, maxdirent: int) -> float:
    """Most entries of a directory, or at a level above 0 of a bucket, that is stored whole; maxdirent 0 is no limit."""
    if maxdirent == 0 or level >= _LEVELS:
        return float("inf")
    return max(1, maxdirent // _SHARE) if level else maxdirent


def split(entries: dict[str, Any], level: int) -> list[dict[str, Any]]:
    """Entries by bucket."""
    parts: list[dict[str, Any]] = [{} for _ in range(_SIZE)]
    for name, entry in entries.items():
        parts[bucket_of(name, level)][name] = entry
    return parts


def encode_hdir(level: int, total: int, refs: Iterable[str | None], func: str = _STEM) -> bytes:
    """The blob of an hdir."""
    buckets = ["null" if ref is None else f'{{"data":["{ref}"],"type":"dirref","ver":1}}' for ref in refs]
    rest = f'"func":"{func}-{level}","size":{len(buckets)},"total":{total}'
    return f'{{"data":{{"bucket":[{",".join(buckets)}],{rest}}},"type":"hdir","ver":1}}'.encode()


def store_dir(entries: dict[str, TreeObj], maxdirent: int, store: Callable[[bytes], str], level: int = 0) -> str:
    """Store a directory in the form its size asks for; gives its blobref. store: takes a blob, gives its blobref."""
    if len(entries) <= limit_at(level, maxdirent):
        return store(treeobj.encode(treeobj.directory(entries)))
    parts = split(entries, level)
    refs = [store_dir(part, maxdirent, store, level + 1) if part else None for part in parts]
    return store(encode_hdir(level, len(entries), refs))


def decode_dir(blob: bytes) -> dict[str, TreeObj] | Hdir:
    """What a dirref leads to: the entries of a directory, or its buckets. ProtocolError when it is neither."""
    try:
        obj = msgspec.json.decode(blob)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise ProtocolError(f"a tree object must be JSON: {exc}") from None
    if isinstance(obj, dict) and obj.get("type") == "hdir":
        return decode_hdir(blob)
    obj = treeobj.validate(obj)
    if obj["type"] != "dir":
        raise ProtocolError(f"it should be a directory, it is a {obj['type']}")
    entries: dict[str, TreeObj] = obj["data"]
    return entries


class _Bucket(msgspec.Struct):
    data: tuple[str]
    type: Literal["dirref"]
    ver: Literal[1]


class _Data(msgspec.Struct):
    bucket: list[_Bucket | None]
    func: str
    size: int
    total: int


class _Object(msgspec.Struct):
    data: _Data
    type: Literal["hdir"]


_decode_object = msgspec.json.Decoder(_Object).decode
_all_blobrefs = re.compile("(?:[a-z0-9]+-[0-9a-f]+ )*").fullmatch


def decode_hdir(blob: bytes) -> Hdir:
    """The buckets of a directory that is known to be in buckets. ProtocolError when it is not as it should be."""
    try:
        data = _decode_object(blob).data
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise ProtocolError(f"a hdir's data is {{bucket, func, size, total}}: {exc}") from None
    func, _, level = data.func.partition("-")
    if func not in (_WHOLE, _STEM) or not level.isdecimal() or int(level) >= _LEVELS:
        raise ProtocolError(f"a hdir's func is {_STEM}-0 to {_STEM}-{_LEVELS - 1}, or {_WHOLE}-0 .., not {data.func!r}")
    if not 0 < data.size == len(data.bucket):
        raise ProtocolError(f"a hdir of size {data.size} has that many buckets, not {len(data.bucket)}")
    refs = [None if bucket is None else bucket.data[0] for bucket in data.bucket]
    if not _all_blobrefs("".join([f"{ref} " for ref in refs if ref is not None])):
        raise ProtocolError("the buckets of a hdir are dirrefs, with a blobref each")
    return Hdir(int(level), data.total, refs, func)
