"""Files kept in the KVS: flux archive, and jobs that find them (flux-archive(1), -o stage-in)."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flux.fileref import unpack
from flux.testing import Instance

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(running: Instance) -> Iterator[Run]:
    yield lambda *args: running.run("flux", *args)
    running.run("flux", "archive", "remove", "--force")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree" / "data"
    folder.mkdir(parents=True)
    (folder / "text").write_text("some text\n")
    (folder / "bytes").write_bytes(b"\xff\xfe")
    (folder / "large").write_bytes(os.urandom(3_000_000))
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o750)
    (folder / "link").symlink_to("text")
    with open(folder / "hole", "wb") as stream:
        stream.truncate(1 << 20)
    return folder.parent


def test_what_is_archived_comes_back(run: Run, tree: Path, tmp_path: Path) -> None:
    assert run("archive", "create", "-C", str(tree), "data").returncode == 0
    assert run("archive", "list", "-l", "data/[rt]*").stdout == "f 0750       10 data/run\nf 0644       10 data/text\n"
    out = tmp_path / "out"
    out.mkdir()
    assert run("archive", "extract", "-C", str(out)).returncode == 0
    for name in ("text", "bytes", "large", "run", "hole"):
        assert (out / "data" / name).read_bytes() == (tree / "data" / name).read_bytes()
    assert os.readlink(out / "data" / "link") == "text"
    assert (out / "data" / "run").stat().st_mode & 0o777 == 0o750
    again = run("archive", "extract", "-C", str(out))
    assert (again.returncode, "Attempt to overwrite existing file" in again.stderr) == (1, True)
    assert run("archive", "extract", "--overwrite", "-C", str(out)).returncode == 0


def test_holes_are_not_stored_and_large_files_are_blobs(run: Run, tree: Path) -> None:
    run("archive", "create", "--chunksize=1M", "-C", str(tree), "data/hole", "data/large")
    hole, large = map(json.loads, run("archive", "list", "--raw").stdout.splitlines())
    assert (hole["size"], "data" in hole) == (1 << 20, False)
    assert [region[:2] for region in large["data"]] == [[0, 1 << 20], [1 << 20, 1 << 20], [2 << 20, 902848]]


def mapped(run: Run) -> dict[str, list[str]]:
    tags: dict[str, list[str]] = json.loads(run("module", "stats", "content").stdout)["mmap"]["tags"]
    return tags


def test_files_that_are_mapped_are_read_when_they_are_asked_for(run: Run, tree: Path, tmp_path: Path) -> None:
    large, out = tree / "data" / "large", tmp_path / "out"
    out.mkdir()
    create = ("archive", "create", "-C", str(tree))
    assert run(*create, "--mmap", "data").returncode == 0
    assert sorted(mapped(run)["main"]) == [str(tree / "data" / "hole"), str(large)]
    assert run("exec", "-r1", "flux", "archive", "extract", "-C", str(out)).returncode == 0
    assert (out / "data" / "large").read_bytes() == large.read_bytes()
    assert (out / "data" / "hole").stat().st_size == 1 << 20
    large.write_bytes(bytes(3_000_000))
    run("exec", "-r", "all", "flux", "content", "dropcache")
    assert run("archive", "extract", "--overwrite", "-C", str(out)).returncode == 1
    assert run("archive", "remove").returncode == 0
    assert mapped(run) == {}


def test_an_archive_keeps_some_files_and_maps_others(run: Run, tree: Path) -> None:
    create = ("archive", "create", "-C", str(tree))
    run(*create, "data/large")
    kept = json.loads(run("kvs", "get", "--treeobj", "archive.main_blobs").stdout)["data"]
    assert run(*create, "--append", "--mmap", "data/hole").returncode == 0
    assert json.loads(run("kvs", "get", "--treeobj", "archive.main_blobs").stdout)["data"] == kept
    refused = run("exec", "-r1", "flux", *create, "--mmap", "-n", "other", "data/large")
    assert (refused.returncode, "--mmap works on rank 0 alone" in refused.stderr) == (1, True)


def test_a_file_that_the_broker_cannot_map_is_named(run: Run, tree: Path) -> None:
    refused = run("archive", "create", "--mmap", "--chunksize=2G", "-C", str(tree), "data/large")
    assert refused.returncode == 1
    assert refused.stderr.startswith("flux-archive: data/large: the broker cannot read it: a blob has at most ")


@pytest.mark.parametrize(("command", "create"), [("archive", "create"), ("filemap", "map")])
def test_names_that_look_like_options(run: Run, tree: Path, command: str, create: str) -> None:
    (tree / "-l").write_text("text\n")
    assert run(command, create, "-C", str(tree), "--", "-l").returncode == 0
    assert run(command, "list", "--", "-l").stdout == "-l\n"


def test_names_that_are_taken_and_names_that_are_not_there(run: Run, tree: Path) -> None:
    create = ("archive", "create", "-C", str(tree))
    run(*create, "data/text")
    assert run(*create, "data/run").stderr == "flux-archive: archive.main: key exists\n"
    assert run(*create, "--append", "data/run").returncode == 0
    assert run("archive", "list").stdout == "data/text\ndata/run\n"
    assert run(*create, "--overwrite", "data/run").returncode == 0
    assert run("archive", "list").stdout == "data/run\n"
    assert run("archive", "list", "-n", "other").stderr.endswith("archive.other: No such file or directory\n")
    assert run(*create, "-n", "other", "nosuch").stderr == "flux-archive: nosuch: No such file or directory\n"
    assert run("archive", "remove").returncode == 0
    assert run("archive", "remove").stderr == "flux-archive: archive.main does not exist\n"


def test_jobs_find_archived_files_on_each_node(run: Run, tree: Path, tmp_path: Path) -> None:
    run("archive", "create", "-C", str(tree), "data")
    script = "cat $FLUX_JOB_TMPDIR/data/text; wc -c < $FLUX_JOB_TMPDIR/data/large"
    done = run("run", "-N2", "-o", "stage-in", "sh", "-c", script)
    assert sorted(done.stdout.splitlines()) == ["3000000", "3000000", "some text", "some text"]
    (tmp_path / "shared").mkdir()
    where = f"stage-in.destination=global:{tmp_path}/shared"
    done = run("run", "-N2", "-o", where, "-o", "stage-in.pattern=data/t*", "true")
    assert done.returncode == 0
    assert [path.name for path in (tmp_path / "shared" / "data").iterdir()] == ["text"]
    failed = run("run", "-o", "stage-in.names=nosuch", "true")
    assert (failed.returncode, "stage-in of archive nosuch" in failed.stderr) == (1, True)


@pytest.mark.parametrize("path", ["/etc/x", "a/../../x", "way/x"])
def test_no_file_is_made_outside(tmp_path: Path, path: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "way").symlink_to(tmp_path)
    with pytest.raises(ValueError, match=r"path below|leads out"):
        unpack(str(folder), path, {"mode": 0o100644, "data": "x"})
    assert not (tmp_path / "x").exists()


def test_the_older_spelling_with_tags(run: Run, tree: Path, tmp_path: Path) -> None:
    assert run("filemap", "map", "--tags=ds1,ds2", "-C", str(tree), "data/text").returncode == 0
    assert run("filemap", "map", "-Tds2", "-C", str(tree), "data/large").returncode == 0
    assert run("filemap", "list", "--tags=ds1,ds2").stdout == "data/text\ndata/text\ndata/large\n"
    assert len(run("filemap", "list", "-Tds2", "--blobref").stdout.splitlines()) == 3
    found = run("run", "-o", "stage-in.tags=ds2", "sh", "-c", "cat $FLUX_JOB_TMPDIR/data/text")
    assert found.stdout == "some text\n", found.stderr
    out = tmp_path / "out"
    out.mkdir()
    for _ in range(2):
        assert run("filemap", "get", "-T", "ds2", "-C", str(out), "data/l*").returncode == 0
    assert (out / "data" / "large").read_bytes() == (tree / "data" / "large").read_bytes()
    assert run("filemap", "unmap", "--tags=ds1,ds2").returncode == 0
    assert run("filemap", "list", "-Tds1").stderr == "flux-filemap: KVS lookup archive.ds1: No such file or directory\n"
