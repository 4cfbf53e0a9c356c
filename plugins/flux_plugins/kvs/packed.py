"""Stored directories with their entries as they are encoded: an entry is decoded and checked when it is asked for.

To change one entry of a hundred is to decode, check and encode one, not a hundred.
"""

from __future__ import annotations

import errno
from typing import Any, Literal

import msgspec

from flux.errors import FluxError, ProtocolError
from flux.kvs import treeobj
from flux.kvs.hdir import Hdir, decode_hdir
from flux.kvs.treeobj import TreeObj

__all__ = ["ENOTRECOVERABLE", "Packed", "open_dir", "unpacked"]

Packed = dict[str, TreeObj | msgspec.Raw]
"""Entries by name, each encoded or not. It is encoded as the directory that it is of."""

ENOTRECOVERABLE = errno.ENOTRECOVERABLE


class _Dir(msgspec.Struct, forbid_unknown_fields=True):
    data: dict[str, msgspec.Raw]
    type: Literal["dir"]
    ver: Literal[1]


_decode = msgspec.json.Decoder(_Dir).decode
_HDIR = b'"type":"hdir","ver":1}'


def open_dir(ref: str, blob: bytes) -> Packed | Hdir:
    """What a dirref leads to. FluxError ENOTRECOVERABLE when the blob is no directory."""
    try:
        if blob.endswith(_HDIR):
            return decode_hdir(blob)
        entries: Any = _decode(blob).data
        if "" in entries or "." in "".join(entries):
            raise ProtocolError("a name in it is empty or has a dot")
    except (ProtocolError, msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise FluxError(ENOTRECOVERABLE, f"{ref} should be a directory: {exc}") from None
    found: Packed = entries
    return found


def unpacked(entry: TreeObj | msgspec.Raw) -> TreeObj:
    """An entry as an object. FluxError ENOTRECOVERABLE when it is no tree object."""
    if isinstance(entry, dict):
        return entry
    try:
        return treeobj.decode(entry)
    except ProtocolError as exc:
        raise FluxError(ENOTRECOVERABLE, f"an entry of a directory is damaged: {exc}") from None
