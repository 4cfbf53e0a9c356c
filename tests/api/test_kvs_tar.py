"""Archives as streams: what Python's tarfile makes of ours, and ours of its, whatever the names (flux-dump(1))."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.blobs import pack, unpack
from flux.errors import ProtocolError
from flux.kvs import tar

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=150).filter(
    lambda name: name.strip(". ") == name
)


@given(st.lists(st.tuples(NAMES, st.binary(max_size=1500)), unique_by=lambda member: member[0]))
def test_tarfile_reads_ours(found: list[tuple[str, bytes]]) -> None:
    raw = b"".join(tar.header(name, len(data), 7) + data + tar.padding(len(data)) for name, data in found) + tar.END
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        read = [(member.name, archive.extractfile(member).read()) for member in archive]  # type: ignore[union-attr]
    assert read == found
    assert [(member.name, member.data) for member in tar.members(io.BytesIO(raw))] == found


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("packed", ["", "gz", "bz2", "xz"])
def test_ours_reads_tarfile(form: int, packed: str) -> None:
    raw = io.BytesIO()
    long = "d" * 90 + "/" + "n" * 60
    with tarfile.open(fileobj=raw, mode=f"w:{packed}", format=form) as archive:  # type: ignore[call-overload]
        member = tarfile.TarInfo(long)
        member.size = 5
        archive.addfile(member, io.BytesIO(b"hello"))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "t" * 90
        archive.addfile(link)
    raw.seek(0)
    found = [(member.name, member.type, member.link, member.data) for member in tar.members(raw)]
    assert found == [(long, tar.FILE, "", b"hello"), ("link", tar.SYMLINK, "t" * 90, b"")]


def test_long_members_are_not_read_into_memory() -> None:
    raw = tar.header("long", 3000, 0) + bytes(3000) + tar.padding(3000) + tar.header("short", 1, 0) + b"s" + bytes(511)
    found = [(member.name, member.data) for member in tar.members(io.BytesIO(raw), limit=100)]
    assert found == [("long", None), ("short", b"s")]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"x" * 512,
        b"\x1f\x8b\x08junk",
        b"BZhjunk",
        tar.header("a", 1000, 0) + b"x" * 512,
        tar.header("a", 0, 0)[:99],
    ],
)
def test_what_is_no_archive_is_refused(raw: bytes) -> None:
    with pytest.raises(ProtocolError, match="archive"):
        list(tar.members(io.BytesIO(raw)))


@given(st.lists(st.one_of(st.none(), st.binary())))
def test_packed_blobs_are_unpacked(blobs: list[bytes | None]) -> None:
    assert unpack(pack(blobs)) == blobs


def test_blobs_that_are_cut_short_are_refused() -> None:
    with pytest.raises(ProtocolError):
        unpack(pack([b"some"])[:-1])
