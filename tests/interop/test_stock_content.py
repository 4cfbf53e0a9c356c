"""Content goes both ways between stock and ours: commands against our broker, database files on disk."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import flux.kvs
from flux.content import digest_of, load_async
from flux.testing import Instance

Stock = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.interop
BIG = "compress me " * 5000


def in_stock(stock_flux: str, statedir: Path, script: str, *options: str) -> str:
    """Run a script in a stock instance over a state directory; gives its output."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("FLUX_")}
    words = [stock_flux, "start", "-S", f"statedir={statedir}", *options, "bash", "-ec", script]
    result = subprocess.run(words, env=env, capture_output=True, text=True, timeout=50)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_commands_against_our_broker(stock: Stock) -> None:
    refs = stock("content", "store", "--chunksize=4", input="onetwothree").stdout
    assert len(refs.split()) == 3
    assert stock("content", "load", *refs.split(), rank=1).stdout == "onetwothree"
    assert stock("content", "load", rank=1, input=refs).stdout == "onetwothree"
    for words in (["flush"], ["dropcache"]):
        assert stock("content", *words).returncode == 0
    assert stock("content", "load", "-b", *refs.split(), rank=1).stdout == "onetwothree"
    unknown = "sha1-" + "0" * 40
    for words, text in (
        (["load", unknown], "No such file or directory"),
        (["load", "-b", unknown], "No such file or directory"),
        (["load", "sha256-" + "0" * 64], "a sha1 digest has 20 bytes, not 32"),
    ):
        result = stock("content", *words)
        assert result.returncode == 1
        assert text in result.stderr
    stock("kvs", "put", "--sync", "a=1")
    root = stock("kvs", "getroot", "-b").stdout.strip()
    assert root in stock("content", "checkpoint", "list").stdout


def test_files_mapped_for_an_archive(stock: Stock, instance: Callable[..., Instance], tmp_path: Path) -> None:
    path = tmp_path / "mapped"
    path.write_bytes(os.urandom(300_000))
    made = stock("archive", "create", "--mmap", "-C", str(tmp_path), "mapped")
    assert made.returncode == 0, made.stderr
    path_there = tmp_path / "there"
    path_there.mkdir()
    got = stock("archive", "extract", "-C", str(path_there), rank=1)
    assert got.returncode == 0, got.stderr
    assert (path_there / "mapped").read_bytes() == path.read_bytes()
    assert stock("archive", "remove").returncode == 0
    assert instance(size=2).handle().rpc("content.stats-get").get()["mmap"]["blobs"] == 0


def test_our_database_is_read_by_stock(stock_flux: str, tmp_path: Path) -> None:
    with Instance(1, attrs={"statedir": str(tmp_path)}) as instance:
        handle = instance.handle()
        flux.kvs.put(handle, "small", "little")
        flux.kvs.put(handle, "big", BIG)
        flux.kvs.commit(handle)
    assert in_stock(stock_flux, tmp_path, "flux kvs get small") == '"little"\n'
    assert in_stock(stock_flux, tmp_path, "flux kvs get big") == f'"{BIG}"\n'


def test_stocks_database_is_read_by_ours_and_again_by_stock(stock_flux: str, tmp_path: Path) -> None:
    ref = in_stock(
        stock_flux, tmp_path, f"flux kvs put small=little 'big={BIG}'; head -c 100000 /dev/zero | flux content store"
    ).strip()
    with Instance(1, attrs={"statedir": str(tmp_path)}) as instance:
        handle = instance.handle()
        assert instance.run("flux", "kvs", "get", "small").stdout == "little\n"
        assert instance.run("flux", "kvs", "get", "big").stdout == f"{BIG}\n"
        assert load_async(handle, digest_of(ref)).get() == bytes(100_000)
        flux.kvs.put(handle, "ours", 1)
        flux.kvs.commit(handle)
    assert in_stock(stock_flux, tmp_path, "flux kvs get ours small").split() == ["1", "little"]


def test_a_folder_of_files_is_read_both_ways(stock_flux: str, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    files = "-Scontent.backing-module=content-files"
    in_stock(stock_flux, state, f"flux kvs put small=little 'big={BIG}'", files)
    composition = tmp_path / "plugins.toml"
    composition.write_text(
        'extends = "default"\n[modules.content-sqlite]\nenabled = false\n[modules.content-files]\nenabled = true\n'
    )
    with Instance(1, attrs={"statedir": str(state)}, args=[f"--plugins={composition}"]) as instance:
        assert instance.run("flux", "kvs", "get", "small").stdout == "little\n"
        assert instance.run("flux", "kvs", "get", "big").stdout == f"{BIG}\n"
        flux.kvs.commit(instance.handle(), txn=flux.kvs.KVSTxn().put("ours", 1))
    assert in_stock(stock_flux, state, "flux kvs get ours small", files).split() == ["1", "little"]
