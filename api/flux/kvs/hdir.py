"""Directories as they are stored: whole, or in buckets when they are large (RFC 11, dir and hdir).

A dir of more than *maxdirent* entries is stored as an hdir: a fixed number of buckets, each a stored directory of its
own, which a name's hash picks. A bucket that gets large is an hdir in its turn, by another byte of the hash. So what a
change of one entry has to store does not grow with the directory. The form depends on nothing but the entries: equal
directories have equal addresses, whatever led to them.

It is that of the RFC, with `func` "sha1-LEVEL" (byte LEVEL of the SHA-1 of the name, modulo `size`), null for empty
buckets, and `total`, the number of entries. An hdir is only ever what a dirref leads to, never an entry itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha1
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from flux.errors import ProtocolError
from flux.kvs import treeobj
from flux.kvs.treeobj import TreeObj

__all__ = ["MAXDIRENT", "Hdir", "bucket_of", "decode_dir", "encode_hdir", "limit_at", "split", "store_dir"]

MAXDIRENT = 1024
"""Most entries of a directory that is stored whole, unless the attribute kvs.maxdirent says otherwise."""

_SIZE = 32
_SHARE = 8
_LEVELS = 20
_FUNC = "sha1-"


class Hdir(NamedTuple):
    """A directory in buckets.

    Attributes:
        level: which byte of a name's hash picks its bucket.
        total: number of entries in all buckets.
        refs: blobref of each bucket; None of an empty one.
    """

    level: int
    total: int
    refs: list[str | None]

    @property
    def stored(self) -> list[str]:
        """The buckets that are not empty."""
        return [ref for ref in self.refs if ref is not None]


def bucket_of(name: str, level: int, size: int = _SIZE) -> int:
    """Number of the bucket that a name is in."""
    return sha1(name.encode("utf-8", "surrogatepass"), usedforsecurity=False).digest()[level] % size


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


def encode_hdir(level: int, total: int, refs: Iterable[str | None]) -> bytes:
    """The blob of an hdir."""
    buckets = [None if ref is None else treeobj.dirref(ref) for ref in refs]
    data = {"bucket": buckets, "func": f"{_FUNC}{level}", "size": len(buckets), "total": total}
    return treeobj.encode({"data": data, "type": "hdir", "ver": 1})


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
        return _hdir(obj)
    obj = treeobj.validate(obj)
    if obj["type"] != "dir":
        raise ProtocolError(f"it should be a directory, it is a {obj['type']}")
    entries: dict[str, TreeObj] = obj["data"]
    return entries


class _Bucket(msgspec.Struct):
    data: tuple[Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]+-[0-9a-f]+$")]]
    type: Literal["dirref"]
    ver: Literal[1]


class _Data(msgspec.Struct):
    bucket: list[_Bucket | None]
    func: str
    size: int
    total: int


def _hdir(obj: dict[str, Any]) -> Hdir:
    try:
        data = msgspec.convert(obj.get("data"), _Data)
    except msgspec.ValidationError as exc:
        raise ProtocolError(f"a hdir's data is {{bucket, func, size, total}}: {exc}") from None
    level = data.func.removeprefix(_FUNC)
    if not level.isdecimal() or int(level) >= _LEVELS or data.func == level or not 0 < data.size == len(data.bucket):
        raise ProtocolError(f"a hdir has size buckets and a func {_FUNC}0 to {_FUNC}{_LEVELS - 1}, not {data.func!r}")
    return Hdir(int(level), data.total, [None if bucket is None else bucket.data[0] for bucket in data.bucket])
