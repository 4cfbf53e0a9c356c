"""Each backing store of this project keeps the contract; what is each one's own is tested beside it."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flux.backing import BackingStore
from flux.content import load_async, store_async
from flux.errors import FluxError
from flux.testing.content import BackingModuleChecks, BackingStoreChecks
from flux_plugins.content_files.folder import Folder
from flux_plugins.content_sqlite.database import Database


class TestDatabase(BackingStoreChecks):
    def open_store(self, folder: Path) -> BackingStore:
        return Database(str(folder / "content.sqlite"), reserve=1 << 16)


class TestContentSqlite(BackingModuleChecks):
    plugin = "flux_plugins.content_sqlite.module:ContentSqlite"

    def arguments(self, folder: Path) -> dict[str, str]:
        return {"path": str(folder / "content.sqlite")}


class TestFolder(BackingStoreChecks):
    def open_store(self, folder: Path) -> BackingStore:
        return Folder(str(folder / "content"), "sha1")

    def test_half_written_files_are_removed_and_never_read(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        store.close()
        partial = tmp_path / "content" / f"sha1-{hashlib.sha1(b'whole').hexdigest()}.partial"
        partial.write_bytes(b"who")
        self.open_store(tmp_path).close()
        assert not partial.exists()

    def test_checkpoints_of_stock_and_of_before_are_read(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        for sequence in (1, 2):
            store.put_checkpoint({"version": 1, "rootref": "sha1-x", "sequence": sequence})
        newest = tmp_path / "content" / "kvs-primary"
        newest.write_text('{"version":1,"rootref":"sha1-y","sequence":3,"timestamp":1.5}')
        assert [found["sequence"] for found in store.checkpoints()] == [3, 2, 1]
        newest.write_text('{"version":1,"rootref":"sha1-x","sequence":1}')  # as if 2 had been interrupted
        assert [found["sequence"] for found in store.checkpoints()] == [1]
        newest.unlink()
        assert [found["sequence"] for found in store.checkpoints()] == [2, 1]

    def test_a_path_that_is_a_file_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "content").write_text("")
        with pytest.raises(FluxError, match="content"):
            self.open_store(tmp_path)

    def test_damaged_checkpoints_are_reported(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        (tmp_path / "content" / "checkpoints").write_text("[{")
        with pytest.raises(FluxError, match="damaged") as caught:
            store.checkpoints()
        assert caught.value.errno == errno.EIO


class TestContentFiles(BackingModuleChecks):
    plugin = "content-files"

    def arguments(self, folder: Path) -> dict[str, str]:
        return {"path": str(folder / "content")}

    def test_a_file_cut_short_is_reported_and_never_served(self, tmp_path: Path) -> None:
        with self.instance(tmp_path) as instance:
            handle = instance.handle(0)
            digest = store_async(handle, b"the whole truth").get()
            handle.rpc("content.flush").get()
            for rank in range(2):
                instance.handle(rank).rpc("content.dropcache").get()
            (tmp_path / "content" / f"sha1-{digest.hex()}").write_bytes(b"the whole")
            for rank in range(2):
                with pytest.raises(OSError, match="damaged") as caught:
                    load_async(instance.handle(rank), digest).get()
                assert caught.value.errno == errno.EIO

    def test_another_store_cannot_take_the_place_of_the_one_that_has_the_content(self, tmp_path: Path) -> None:
        with self.instance(tmp_path) as instance:
            assert instance.run("flux", "module", "remove", "content-files").returncode == 0
            refused = instance.run("flux", "module", "load", "content-sqlite")
            assert refused.returncode == 1
            assert "content-files" in refused.stderr
            assert instance.run("flux", "module", "load", "content-files", f"path={tmp_path}/content").returncode == 0


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A real S3 server on a port of its own; gives a client."""
    pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
        client.create_bucket(Bucket="flux")
        yield client
        client.close()
        server.stop()


@pytest.fixture(autouse=True)
def endpoint(request: pytest.FixtureRequest) -> None:
    """Give the classes that have a place for it the URL of the S3 server."""
    if request.cls is not None and hasattr(request.cls, "endpoint"):
        request.cls.endpoint = request.getfixturevalue("s3").meta.endpoint_url


class TestBucket(BackingStoreChecks):
    endpoint = ""

    def open_store(self, folder: Path) -> BackingStore:
        from flux_plugins.content_s3.bucket import Bucket

        return Bucket("flux", f"{folder.name}/", "sha1", self.endpoint)

    def test_a_bucket_that_is_not_there_is_named(self) -> None:
        from flux_plugins.content_s3.bucket import Bucket

        with pytest.raises(FileNotFoundError, match="no bucket nowhere"):
            Bucket("nowhere", "", "sha1", self.endpoint)

    def test_a_server_that_is_gone_is_an_io_error(self, tmp_path: Path) -> None:
        from flux_plugins.content_s3.bucket import Bucket

        with pytest.raises(FluxError) as caught:
            Bucket("flux", "", "sha1", "http://127.0.0.1:1")
        assert caught.value.errno == errno.EIO


class TestContentS3(BackingModuleChecks):
    plugin = "content-s3"
    endpoint = ""

    def arguments(self, folder: Path) -> dict[str, str]:
        return {"bucket": "flux", "prefix": f"{folder.name}/", "endpoint": self.endpoint}
