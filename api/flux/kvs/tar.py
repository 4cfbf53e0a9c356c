"""Tar archives as streams, as far as `flux.kvs.archive` needs them, and several times faster than the tarfile module.

tarfile still makes the headers that are out of the ordinary: long names, pax records.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from typing import IO, Any, NamedTuple, cast

from flux.errors import ProtocolError

__all__ = [
    "DIRECTORY",
    "END",
    "FILE",
    "GLOBAL",
    "SYMLINK",
    "Member",
    "global_header",
    "header",
    "members",
    "padding",
]

FILE, SYMLINK, DIRECTORY = b"0", b"2", b"5"
GLOBAL = b"g"
BLOCK = 512
END = bytes(2 * BLOCK)
_OWNER = b"0000000\0" * 2
_MAGIC = b"ustar\x0000".ljust(BLOCK - 257, b"\0")
_NAME = 100
_SIZE_MAX = 8**11
_PACKED = (zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError)


class Member(NamedTuple):
    """What an archive holds; of type `GLOBAL` are records about all of it, in `pax`.

    Attributes:
        size: bytes of its data. data: the data, None when it is longer than what was asked for.
    """

    name: str
    type: bytes
    link: str
    size: int
    data: bytes | None
    pax: dict[str, str]


def header(
    name: str, size: int, mtime: int, type: bytes = FILE, link: str = "", pax: dict[str, str] | None = None
) -> bytes:
    """The blocks before the data of a member."""
    raw, target = name.encode("utf-8", "surrogateescape"), link.encode("utf-8", "surrogateescape")
    if pax or len(raw) > _NAME or len(target) > _NAME or size >= _SIZE_MAX or not (name.isascii() and link.isascii()):
        return _long_header(name, size, mtime, type, link, pax or {})
    mode = b"0000755\0" if type == DIRECTORY else b"0000644\0"
    head = b"%b%b%b%011o\0%011o\0" % (raw.ljust(_NAME, b"\0"), mode, _OWNER, size, mtime)
    tail = b"%b%b%b" % (type, target.ljust(_NAME, b"\0"), _MAGIC)
    total = sum(head) + sum(tail) + 8 * 32
    return b"%b%06o\0 %b" % (head, total, tail)


def _long_header(name: str, size: int, mtime: int, type: bytes, link: str, pax: dict[str, str]) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.type, member.linkname = size, mtime, type, link
    member.pax_headers = pax
    if type == DIRECTORY:
        member.mode = 0o755
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def global_header(pax: dict[str, str]) -> bytes:
    """Blocks with records about the whole archive."""
    return tarfile.TarInfo.create_pax_global_header(pax)


def padding(size: int) -> bytes:
    """What follows data of so many bytes."""
    return bytes(-size % BLOCK)


def members(stream: IO[bytes], limit: int | None = None) -> Iterator[Member]:
    """What is in an archive, which may be compressed with gzip, bzip2 or xz. Nothing is sought.

    Args:
        limit: longest file to read into memory, in bytes.

    Raises:
        ProtocolError: it is no archive, or not whole.
    """
    try:
        yield from _read(_unpacked(stream), limit)
    except _PACKED as exc:
        raise ProtocolError(f"this is no whole tar archive: {exc}") from None
    except OSError as exc:
        if exc.errno is not None:
            raise
        raise ProtocolError(f"this is no whole tar archive: {exc}") from None  # what bz2 cannot unpack


def _unpacked(stream: IO[bytes]) -> IO[bytes]:
    buffered: Any = stream if hasattr(stream, "peek") else io.BufferedReader(cast("io.RawIOBase", stream))
    start = buffered.peek(6)[:6]
    if start.startswith(b"\x1f\x8b"):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=buffered))
    if start.startswith(b"BZh"):
        return bz2.BZ2File(buffered)
    if start.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMAFile(buffered)
    return cast("IO[bytes]", buffered)


def _read(stream: IO[bytes], limit: int | None) -> Iterator[Member]:
    pax: dict[str, str] = {}
    block = stream.read(BLOCK)
    if not block:
        raise ProtocolError("this is no whole tar archive: it is empty")
    while block and block.count(0) != BLOCK:
        name, type_, link, size = _parse(block)
        if type_ in (b"x", b"L", b"K", GLOBAL):
            pax = _take_extra(type_, _data(stream, size, name), pax)
            if type_ == GLOBAL:
                yield Member("", GLOBAL, "", 0, b"", pax)
                pax = {}
        else:
            name, link = pax.get("path", name), pax.get("linkpath", link)
            size = int(pax["size"]) if pax.get("size", "").isdecimal() else size
            if type_ not in (FILE, b"\0", b"7"):
                size = 0
            data = None
            if limit is not None and size > limit:
                _skip(stream, size, name)
            else:
                data = _data(stream, size, name)
            yield Member(name, FILE if type_ in (b"\0", b"7") else type_, link, size, data, pax)
            pax = {}
        block = stream.read(BLOCK)


def _parse(block: bytes) -> tuple[str, bytes, str, int]:
    size = _number(block[124:136])
    if len(block) != BLOCK or _number(block[148:156]) != sum(block) - sum(block[148:156]) + 8 * 32 or size < 0:
        raise ProtocolError("this is no whole tar archive: a header is damaged")
    name = _text(block[:_NAME])
    prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name, block[156:157], _text(block[157:257]), size


def _number(field: bytes) -> int:
    """Octal digits, or binary behind the byte 0x80; -1 when it is neither."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    try:
        return int(field.partition(b"\0")[0].strip() or b"0", 8)
    except ValueError:
        return -1


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _take_extra(type_: bytes, data: bytes, pax: dict[str, str]) -> dict[str, str]:
    """What a member about the next one, or about all, adds to what is known of that."""
    if type_ == b"L":
        return {**pax, "path": _text(data)}
    if type_ == b"K":
        return {**pax, "linkpath": _text(data)}
    found: dict[str, str] = {}
    at = 0
    while at < len(data) and data[at] != 0:
        digits, _, _ = data[at : at + 20].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        key, separator, value = data[at + len(digits) + 1 : at + length - 1].partition(b"=")
        if not length or not separator:
            raise ProtocolError("this is no whole tar archive: a pax record is damaged")
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        at += length
    return {**pax, **found}


def _data(stream: IO[bytes], size: int, name: str) -> bytes:
    if not size:
        return b""
    padded = size + -size % BLOCK
    data = stream.read(padded)
    if len(data) < padded:
        raise ProtocolError(f"the archive ends within {name}")
    return data[:size]


def _skip(stream: IO[bytes], size: int, name: str) -> None:
    left = size + -size % BLOCK
    while left:
        chunk = len(stream.read(min(left, 1 << 20)))
        if not chunk:
            raise ProtocolError(f"the archive ends within {name}")
        left -= chunk
