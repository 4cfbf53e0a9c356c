"""The SQLite file behind content-sqlite: what was stored is there after a restart, damage is named."""

from __future__ import annotations

import errno
import hashlib
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.errors import FluxError
from flux_plugins.content_sqlite.database import Database


def digest(blob: bytes) -> bytes:
    return hashlib.sha1(blob).digest()


def pairs(*blobs: bytes) -> list[tuple[bytes, bytes]]:
    return [(digest(blob), blob) for blob in blobs]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "content.sqlite")


@given(st.lists(st.binary(max_size=50) | st.binary(min_size=1000, max_size=1100), max_size=5))
def test_blobs_round_trip(blobs):
    database = Database(":memory:", compress_from=1000)
    database.store(pairs(*blobs))
    database.store(pairs(*blobs))
    for blob in blobs:
        assert database.load(digest(blob)) == blob
    assert database.stats()["object_count"] == len(set(blobs))
    database.close()


def test_what_was_stored_outlives_the_process_and_long_blobs_are_compressed(path):
    blob = b"compress me " * 5000
    database = Database(path)
    database.store(pairs(b"", b"x", blob))
    database.put_checkpoint({"version": 1, "rootref": "sha1-a", "sequence": 3})
    database.close()
    again = Database(path)
    assert [again.load(digest(b)) for b in (b"", b"x", blob)] == [b"", b"x", blob]
    assert again.stats()["object_size"] < len(blob) / 10
    assert again.checkpoints()[0]["rootref"] == "sha1-a"
    again.close()


def test_a_blob_is_loaded_while_others_are_being_written(path):
    database = Database(path)
    database.store(pairs(b"there"))
    database.db.execute("BEGIN IMMEDIATE")
    database.db.execute("DELETE FROM objects")
    assert database.load(digest(b"there")) == b"there"
    database.db.execute("ROLLBACK")
    database.close()


def test_without_a_write_ahead_log_one_connection_does_all(path):
    database = Database(path, journal_mode="DELETE")
    assert not database.beside
    database.store(pairs(b"there"))
    assert database.load(digest(b"there")) == b"there"
    database.close()


def test_unknown_blobs(path):
    database = Database(path)
    for ask in (database.load, database.validate):
        with pytest.raises(FileNotFoundError):
            ask(digest(b"never stored"))
    database.close()


def test_the_last_checkpoints_are_kept_newest_first(path):
    database = Database(path)
    with pytest.raises(FileNotFoundError):
        database.checkpoints()
    for sequence in range(8):
        database.put_checkpoint({"version": 1, "rootref": "sha1-a", "sequence": sequence})
    kept = database.checkpoints()
    assert [checkpoint["sequence"] for checkpoint in kept] == [7, 6, 5, 4, 3]
    assert all(checkpoint["timestamp"] > 0 for checkpoint in kept)
    database.close()


def test_a_file_that_is_no_database_is_named(path):
    Path(path).write_bytes(b"this is not a database, it is a letter to my aunt" * 100)
    with pytest.raises(FluxError, match=r"content\.sqlite") as caught:
        Database(path)
    assert caught.value.errno == errno.EIO


def test_damaged_compression_is_an_error_not_wrong_data(path):
    blob = b"compress me " * 5000
    database = Database(path)
    database.store(pairs(blob))
    database.close()
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE objects SET object = x'00112233'")
    raw.close()
    again = Database(path)
    with pytest.raises(FluxError, match="damaged"):
        again.load(digest(blob))
    again.close()


def test_a_flipped_byte_in_the_file_is_found_at_start(path):
    database = Database(path)
    database.store(pairs(*(bytes([i]) * 500 for i in range(200))))
    database.close()
    data = bytearray(Path(path).read_bytes())
    data[4096 * 3 : 4096 * 3 + 64] = b"\xff" * 64
    Path(path).write_bytes(data)
    with pytest.raises(FluxError, match=r"damaged|malformed") as caught:
        Database(path)
    assert caught.value.errno == errno.EIO


def test_a_full_disk_gives_up_the_reserve_then_refuses(path):
    database = Database(path, reserve=1 << 20)
    assert Path(path + ".reserve").stat().st_size == 1 << 20
    database.store(pairs(b"before"))
    (pages,) = database.db.execute("PRAGMA page_count").fetchone()
    database.db.execute(f"PRAGMA max_page_count={pages}")
    more = pairs(*(bytes([i]) * 1000 for i in range(20)))
    with pytest.raises(FluxError) as caught:
        database.store(more)
    assert caught.value.errno == errno.ENOSPC
    assert database.full and not Path(path + ".reserve").exists()
    assert database.load(digest(b"before")) == b"before"
    database.db.execute("PRAGMA max_page_count=100000")
    database.store(more)
    assert database.full  # until it is asked whether there is room
    database.store([])
    assert not database.full and Path(path + ".reserve").exists()
    database.close()
    assert not Path(path + ".reserve").exists()


def test_a_file_without_epochs_is_imported(path):
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE objects(hash BLOB PRIMARY KEY, size INT, object BLOB)")
        raw.execute("INSERT INTO objects VALUES (CAST(? AS TEXT), -1, ?)", (digest(b"old"), b"old"))
    raw.close()
    database = Database(path)
    database.store(pairs(b"new"))
    assert [database.load(digest(blob)) for blob in (b"old", b"new")] == [b"old", b"new"]
    database.close()
