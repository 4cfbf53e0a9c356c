"""KVS tree objects (RFC 11) as plain dicts, with the one canonical encoding.

A directory's content address is the hash of its encoding, so every writer must produce the same bytes:
compact JSON, keys sorted at every level, no trailing newline.
"""

from __future__ import annotations

import binascii
import errno
from collections.abc import Callable, Iterable, Mapping
from functools import cache

from flux import jsontext
from flux.errors import FluxError, ProtocolError
from flux.hashes import DIGEST_SIZES, hasher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "EMPTY_DIR",
    "INLINE_MAX",
    "TreeObj",
    "blobref",
    "data_of",
    "decode",
    "decode_val",
    "directory",
    "dirref",
    "encode",
    "hasher",
    "symlink",
    "val",
    "validate",
    "valref",
]

TreeObj = dict[str, "Any"]
"""{"data": ..., "type": "val" | "valref" | "dir" | "dirref" | "symlink", "ver": 1}."""

INLINE_MAX = 72
"""Longest base64 text, in characters, that a val may hold inside a stored directory."""

EMPTY_DIR: bytes = b'{"data":{},"type":"dir","ver":1}'
"""Encoding of the empty directory."""


def encode(obj: Any) -> bytes:
    """The canonical text of an object."""
    return _encoder()(obj)


@cache
def _encoder() -> Callable[[Any], bytes]:
    import msgspec

    return msgspec.json.Encoder(order="sorted").encode


def blobref(data: bytes, hash_name: str = "sha1") -> str:
    """Content address of a blob as text (RFC 10): "sha1-" and the digest in hex."""
    return f"{hash_name}-{hasher(hash_name)(data).hexdigest()}"


def val(data: bytes | str) -> TreeObj:
    """A value, given whole."""
    raw = data.encode() if isinstance(data, str) else data
    return {"data": binascii.b2a_base64(raw, newline=False).decode(), "type": "val", "ver": 1}


def valref(refs: Iterable[str]) -> TreeObj:
    """A value made of stored blobs, in order."""
    return {"data": list(refs), "type": "valref", "ver": 1}


def dirref(ref: str) -> TreeObj:
    """A stored directory."""
    return {"data": [ref], "type": "dirref", "ver": 1}


def directory(entries: Mapping[str, TreeObj] | None = None) -> TreeObj:
    """A directory, given whole."""
    return {"data": {} if entries is None else dict(entries), "type": "dir", "ver": 1}


def symlink(target: str, namespace: str | None = None) -> TreeObj:
    """A link to a key, of this namespace or another."""
    data = {"target": target} if namespace is None else {"namespace": namespace, "target": target}
    return {"data": data, "type": "symlink", "ver": 1}


def data_of(obj: TreeObj) -> bytes:
    """Bytes of a val. ProtocolError when it is no base64."""
    try:
        return binascii.a2b_base64(obj["data"], strict_mode=True)
    except (binascii.Error, ValueError, TypeError) as exc:
        raise ProtocolError(f"a val's data is not base64: {exc}") from None


def decode_val(obj: TreeObj) -> bytes:
    """Bytes of a val object.

    Raises:
        FluxError: EISDIR for a directory, EINVAL for anything else that is no val.
    """
    kind = obj["type"]
    if kind == "val":
        return data_of(obj)
    if kind in ("dir", "dirref"):
        raise FluxError(errno.EISDIR, "the key is a directory, not a value")
    raise FluxError(errno.EINVAL, f"expected a val object, not a {kind}")


def decode(blob: bytes | str) -> TreeObj:
    """Text to a checked tree object. ProtocolError when it is none."""
    try:
        obj = jsontext.decode(blob)
    except jsontext.errors() as exc:
        raise ProtocolError(f"a tree object must be JSON: {exc}") from None
    return validate(obj)


def validate(obj: Any) -> TreeObj:
    """Check the shape of a tree object, whole directories included; gives it back.

    Raises:
        ProtocolError: saying what RFC 11 asks for.
    """
    if not isinstance(obj, dict) or obj.keys() != {"data", "type", "ver"}:
        raise ProtocolError("a tree object is {data, type, ver} and nothing else (RFC 11)")
    if obj["ver"] != 1:
        raise ProtocolError(f"tree object version {obj['ver']!r} is unknown: only 1 is")
    check = _CHECKS.get(obj["type"])
    if check is None:
        raise ProtocolError(f"unknown tree object type {obj['type']!r}: it may be {', '.join(_CHECKS)}")
    check(obj["data"])
    return obj


def _check_val(data: Any) -> None:
    data_of({"data": data})


def _check_refs(data: Any) -> None:
    if not isinstance(data, list):
        raise ProtocolError("references are an array of blobrefs")
    for ref in data:
        _check_blobref(ref)


def _check_blobref(ref: Any) -> None:
    name, _, digest = ref.partition("-") if isinstance(ref, str) else ("", "", "")
    if DIGEST_SIZES.get(name, -1) * 2 != len(digest) or not _is_hex(digest):
        raise ProtocolError(f"{ref!r} is no blobref, such as sha1- and 40 hex digits")


def _is_hex(text: str) -> bool:
    return not text.strip("0123456789abcdef")


def _check_dirref(data: Any) -> None:
    _check_refs(data)
    if len(data) != 1:
        raise ProtocolError(f"a dirref holds one blobref, not {len(data)}")


def _check_dir(data: Any) -> None:
    if not isinstance(data, dict):
        raise ProtocolError("a dir's data is an object")
    for name, entry in data.items():
        if not name or "." in name:
            raise ProtocolError(f"{name!r} cannot name a directory entry")
        validate(entry)


def _check_symlink(data: Any) -> None:
    if not isinstance(data, dict) or not isinstance(data.get("target"), str):
        raise ProtocolError("a symlink's data is {target} or {namespace, target}")
    if not isinstance(data.get("namespace", ""), str) or not data.keys() <= {"namespace", "target"}:
        raise ProtocolError("a symlink's data is {target} or {namespace, target}")


_CHECKS: dict[Any, Callable[[Any], None]] = {
    "val": _check_val,
    "valref": _check_refs,
    "dir": _check_dir,
    "dirref": _check_dirref,
    "symlink": _check_symlink,
}
