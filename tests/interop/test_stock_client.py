"""A stock client, unchanged, against our broker: sites mix versions, and tools bring their own libflux."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from flux.testing import Instance

Stock = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.interop


def ok(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("target", ["broker", "1", "1!broker", "0!attr"])
def test_ping(stock: Stock, target: str) -> None:
    output = ok(stock("ping", "--count=2", "--interval=0", target))
    assert output.count("seq=") == 2


def test_ping_of_nobody(stock: Stock) -> None:
    result = stock("ping", "--count=1", "nosuchservice")
    assert result.returncode != 0
    assert "nosuchservice" in result.stderr


def test_attributes(stock: Stock) -> None:
    assert ok(stock("getattr", "size")) == "2\n"
    assert ok(stock("getattr", "rank", rank=1)) == "1\n"
    assert "broker.pid" in ok(stock("lsattr", "-v"))
    assert stock("getattr", "nosuchattribute").returncode == 1
    assert stock("setattr", "rank", "1").returncode == 1
    ok(stock("setattr", "log-stderr-level", "2"))
    assert ok(stock("getattr", "log-stderr-level")) == "2\n"


def test_modules(stock: Stock) -> None:
    listed = ok(stock("module", "list"))
    for name in ("kvs", "job-manager", "overlay"):
        assert f"\n{name} " in listed
    ok(stock("module", "stats", "kvs"))
    assert stock("module", "remove", "nosuchmodule").returncode == 1
    assert stock("module", "load", "nosuchmodule").returncode == 1


def test_events(stock: Stock, stock_flux: str, instance: Callable[..., Instance]) -> None:
    env = instance(size=2).env
    subscriber = subprocess.Popen(
        [stock_flux, "event", "sub", "--count=2", "interop."], env=env, stdout=subprocess.PIPE, text=True
    )
    assert subscriber.stdout is not None
    while subscriber.poll() is None:
        ok(stock("event", "pub", "interop.a", '{"x":1}'))
        assert "seq=" not in ok(stock("event", "pub", "--private", "interop.b"))
    assert 'interop.a\t{"x":1}' in subscriber.stdout.read()
    subscriber.stdout.close()


def test_kvs(stock: Stock) -> None:
    ok(stock("kvs", "put", "interop.a=42", "interop.b=text", "interop.c={}"))
    assert ok(stock("kvs", "get", "interop.a", rank=1)) == "42\n"
    assert ok(stock("kvs", "ls", "interop")).split() == ["a", "b", "c"]
    assert "interop.a = 42" in ok(stock("kvs", "dir", "-R", "interop"))
    ok(stock("kvs", "mkdir", "interop.d"))
    ok(stock("kvs", "link", "interop.a", "interop.l"))
    assert ok(stock("kvs", "readlink", "interop.l")) == "interop.a\n"
    ok(stock("kvs", "unlink", "interop.b"))
    missing = stock("kvs", "get", "interop.b")
    assert (missing.returncode, "No such file" in missing.stderr) == (1, True)
    ok(stock("kvs", "namespace", "create", "other"))
    ok(stock("kvs", "put", "--namespace=other", "x=1"))
    assert ok(stock("kvs", "get", "--namespace=other", "x")) == "1\n"
    ok(stock("kvs", "eventlog", "append", "interop.log", "started", '{"n":1}'))
    assert "started" in ok(stock("kvs", "eventlog", "get", "interop.log"))


def test_content(stock: Stock) -> None:
    blobref = ok(stock("content", "store", input="hello")).strip()
    assert blobref.startswith("sha1-")
    assert ok(stock("content", "load", blobref, rank=1)) == "hello"
    ok(stock("content", "flush"))
    ok(stock("content", "dropcache"))
    assert ok(stock("content", "load", blobref)) == "hello"


def test_log(stock: Stock) -> None:
    ok(stock("logger", "--severity=warning", "from", "afar"))
    assert "logger.warning[0]: from afar" in ok(stock("dmesg"))
    ok(stock("dmesg", "-C"))
    assert "from afar" not in ok(stock("dmesg"))


def test_overlay_and_uptime(stock: Stock) -> None:
    status = ok(stock("overlay", "status"))
    assert "full" in status
    assert "run" in ok(stock("uptime"))


def test_jobs(stock: Stock) -> None:
    assert ok(stock("run", "-n2", "echo", "hi")) == "hi\nhi\n"
    assert stock("run", "sh", "-c", "exit 3").returncode == 3
    jobid = ok(stock("submit", "true")).strip()
    assert "clean" in ok(stock("job", "wait-event", jobid, "clean"))
    names = [line.split()[1] for line in ok(stock("job", "eventlog", jobid)).splitlines()]
    assert [name for name in names if name in ("submit", "alloc", "start", "finish", "free", "clean")] == [
        "submit", "alloc", "start", "finish", "free", "clean",
    ]  # fmt: skip
    assert "CD" in ok(stock("jobs", "-a"))
    too_big = stock("run", "-N99", "true")
    assert too_big.returncode != 0


def test_cron(stock: Stock) -> None:
    assert ok(stock("cron", "sync")) == 'sync: sync to event "heartbeat.pulse" epsilon=0.015s.\n'
    ok(stock("cron", "sync", "--disable"))
    assert "cron-1 created" in ok(stock("cron", "interval", "-N", "mine", "-o", "timeout=5", "1h", "hostname"))
    assert "cron-2 created" in ok(stock("cron", "event", "--nth=2", "-c", "1", "interop.cron", "false"))
    assert "scheduled in" in ok(stock("cron", "tab", input="0 8 * * Mon true\n"))
    assert "scheduled in" in ok(stock("cron", "at", "2099-01-31 12:00", "true"))
    for _ in range(2):
        ok(stock("event", "pub", "--synchronous", "interop.cron"))
    while "Failed:rc=1" not in (listed := ok(stock("cron", "list"))):
        assert "false" in listed
    assert "mine" in listed
    assert ok(stock("cron", "dump", "--key=typedata.interval", "1")) == "3600\n"
    assert "task.1.state" in ok(stock("cron", "dump", "2"))
    assert ok(stock("cron", "stop", "1")) == "Stopped cron-1\n"
    assert ok(stock("cron", "start", "1")) == "Started cron-1\n"
    assert "Removed cron-1" in ok(stock("cron", "delete", "1"))
    assert stock("cron", "delete", "1").returncode == 1


def test_resource(stock: Stock) -> None:
    assert [line.split()[0] for line in ok(stock("resource", "list", "-n")).splitlines()] == [
        "free",
        "allocated",
        "down",
    ]
    assert "avail" in ok(stock("resource", "status"))
    assert ok(stock("resource", "info")).startswith("2 Nodes, ")
    assert '"R_lite"' in ok(stock("resource", "R"))
    ok(stock("resource", "drain", "1", "bad", "node"))
    assert stock("resource", "drain", "1", "again").returncode == 1
    assert "bad node" in ok(stock("resource", "drain"))
    assert "reason=" in ok(stock("resource", "eventlog"))
    ok(stock("resource", "undrain", "1"))
    assert stock("resource", "undrain", "1").returncode == 1
