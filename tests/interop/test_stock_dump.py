"""Archives go both ways between stock Flux and ours; stock dump and restore work in our instance."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from flux.testing import Instance

Stock = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.interop
PUT = ["a.b=1", f"long={'x' * 3000}", "empty="]


def ok(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout


def put(run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    ok(run("kvs", "put", *PUT))
    ok(run("kvs", "put", "--append", "long=tail"))
    ok(run("kvs", "link", "--target-namespace=other", "x", "far"))


def check(run: Callable[..., subprocess.CompletedProcess[str]], key: str) -> None:
    assert ok(run("kvs", "get", f"{key}.a.b", f"{key}.long")) == f"1\n{'x' * 3000}tail\n"
    assert ok(run("kvs", "readlink", f"{key}.far")) == "other::x\n"


@pytest.fixture
def ours(instance: Callable[..., Instance]) -> Callable[..., subprocess.CompletedProcess[str]]:
    running = instance(size=2)
    return lambda *words: running.run("flux", *words)


@pytest.mark.parametrize("ours_writes", [True, False])
@pytest.mark.parametrize("ours_reads", [True, False])
def test_commands_in_our_instance(stock: Stock, ours: Stock, tmp_path: Path, ours_writes: bool, ours_reads: bool):
    put(ours)
    path = str(tmp_path / "out.tar")
    ok((ours if ours_writes else stock)("dump", path))
    ok((ours if ours_reads else stock)("restore", "--key=restored", path))
    check(ours, "restored")


def test_archives_cross_between_instances(stock_flux: str, ours: Stock, tmp_path: Path):
    put(ours)
    ok(ours("dump", str(tmp_path / "ours.tar")))
    words = f"""set -e; cd {tmp_path}
        flux restore -q --key=restored ours.tar
        test "$(flux kvs get restored.long)" = {"x" * 3000}tail
        test "$(flux kvs readlink restored.far)" = other::x
        flux kvs put {" ".join(PUT)}; flux kvs put --append long=tail; flux kvs link -T other x far
        flux dump -q stock.tar"""
    ok(subprocess.run([stock_flux, "start", "bash", "-c", words], capture_output=True, text=True, timeout=60))
    ok(ours("restore", "--key=theirs", str(tmp_path / "stock.tar")))
    check(ours, "theirs")


def test_stock_collects_our_garbage(stock: Stock, ours: Stock):
    for number in range(5):
        ok(ours("kvs", "put", f"collected.key={number}", f"collected.long={'y' * (500 + number)}"))
    ok(ours("kvs", "sync"))
    collected = stock("gc", "-v")
    assert collected.returncode == 0, collected.stderr
    removed = re.search(r"reclaimed (\d+) blobs", collected.stdout + collected.stderr)
    assert removed is not None
    assert int(removed[1]) >= 4
    ok(ours("kvs", "dropcache", "--all"))
    ok(ours("content", "dropcache"))
    assert ok(ours("kvs", "get", "collected.key", "collected.long")) == f"4\n{'y' * 504}\n"


def test_stock_shuts_our_instance_down_with_a_dump(stock_flux: str, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    with Instance(1, attrs={"statedir": str(state)}) as ours:
        ok(ours.run("flux", "kvs", "put", "kept=1"))
        told = ours.run(stock_flux, "shutdown", "--gc", ours.uri).stderr.splitlines()
    assert any(line.startswith("content-archive.info[0]: dumping the key-value store to") for line in told)
    words = [stock_flux, "start", f"-Sstatedir={state}", "-Scontent.restore=auto", "flux", "kvs", "get", "kept"]
    assert ok(subprocess.run(words, capture_output=True, text=True, timeout=60)) == "1\n"
    assert not (state / "dump" / "RESTORE").is_symlink()
