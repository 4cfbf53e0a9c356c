"""Modules that block, written the way of stock Flux (`flux.brokermod`), run in a process of their own (RFC 5)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flux.errors import FluxError
from flux.testing import Instance, wait_for

COUNT = '''
from flux.brokermod import BrokerModule, event_handler, request_handler


class Count(BrokerModule):
    """Counts notes."""

    def __init__(self, h, *args):
        super().__init__(h, *args)
        self.notes = []
        self.ticks = 0
        h.timer_watcher_create(0.01, self.tick, repeat=0.01).start()
        if "quiet" in args:
            self.log.level = "err"
        self.log.info(f"{self.name} begins")

    def tick(self, *_args):
        self.ticks += 1

    @request_handler("info", allow_guest=True)
    def info(self, msg):
        size = self.handle.rpc("attr.get", {"name": "size"}).get()["value"]
        answer = {"args": self.args, "notes": self.notes, "ticks": self.ticks, "size": size}
        self.handle.respond(msg, {**answer, "conf": self.handle.conf_get("site.x"), "level": self.log.level_name})

    @request_handler("flag")
    def flag(self, msg):
        self.handle.respond(msg, {"set": self.debug_test(2, clear=True)})

    @request_handler("fail")
    def fail(self, msg):
        raise KeyError("note")

    @request_handler("stop-error")
    def on_stop_error(self, msg):
        self.handle.respond(msg)
        self.stop_error()

    @event_handler("site.note", prefix=False)
    def note(self, msg):
        self.notes.append(msg.payload)

    @event_handler("end")
    def end(self, _msg):
        self.stop()
'''
PLAIN = """
def mod_main(h, *args):
    if "bad" in args:
        raise ValueError("bad is no argument")
    h.rpc("attr.get", {"name": "size"}).get()  # what comes meanwhile is not lost
    watcher = h.msg_watcher_create(lambda h, w, msg, arg: h.respond(msg, {"args": args}), 1, "plain.args")
    with watcher:
        h.reactor_run()
"""
PLANNED = """
[modules.planned]
use = "count.py"
args = { a = 1, quiet = true }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("modules")
    (folder / "count.py").write_text(COUNT)
    (folder / "plain.py").write_text(PLAIN)
    (folder / "two.py").write_text(COUNT + "\n\nclass Other(Count):\n    pass\n")
    (folder / "plugins.toml").write_text((Path(__file__).parent / "kernel.toml").read_text() + PLANNED)
    return folder


@pytest.fixture(scope="module")
def running(flux_instance: Callable[..., Instance], folder: Path) -> Instance:
    return flux_instance(1, args=[f"--plugins={folder / 'plugins.toml'}", "--conf=site.x=7"])


@pytest.fixture
def load(running: Instance, folder: Path) -> Iterator[Callable[..., Any]]:
    """Loads a file and gives a handle; what is loaded is removed at the end."""
    handle = running.handle()
    loaded: list[str] = []

    def load(file: str, *args: str) -> Any:
        handle.rpc("module.load", {"path": str(folder / file), "args": args}).get()
        loaded.append(file.removesuffix(".py"))
        return handle

    yield load
    for name in loaded:
        handle.rpc("module.remove", {"name": name}).get()


def modules(handle: Any) -> dict[str, Any]:
    return {module["name"]: module for module in handle.rpc("module.list").get()["mods"]}


def test_it_answers_requests_and_events(load: Callable[..., Any], running: Instance) -> None:
    handle = load("count.py", "b=2", "c")
    handle.event_publish("site.note", {"n": 1})
    wait_for(lambda: handle.rpc("count.info").get()["notes"] == [{"n": 1}], what="the event")
    info = handle.rpc("count.info").get()
    assert (info["args"], info["size"], info["conf"], info["level"]) == (["b=2", "c"], "1", 7, "debug")
    wait_for(lambda: handle.rpc("count.info").get()["ticks"] > 1, what="its timer")
    assert modules(handle)["count"]["pid"] not in (os.getpid(), running.process.pid)
    assert "count.info[0]: count begins" in running.run("flux", "dmesg").stdout


def test_it_has_what_every_module_has(load: Callable[..., Any]) -> None:
    handle = load("count.py")
    assert handle.rpc("count.ping", {"seq": 3}).get()["seq"] == 3
    handle.rpc("count.stats-clear").get()
    handle.rpc("count.info").get()
    assert handle.rpc("count.stats-get").get()["rx"]["request"] == 2
    handle.rpc("count.debug", {"op": "setbit", "flags": 2}).get()
    assert [handle.rpc("count.flag").get()["set"] for _ in range(2)] == [True, False]
    with pytest.raises(FluxError, match=r"Unknown service method 'count.nosuch'"):
        handle.rpc("count.nosuch").get()
    with pytest.raises(FluxError, match="debug has no op 'x'"):
        handle.rpc("count.debug", {"op": "x", "flags": 2}).get()
    before = modules(handle)["count"]["pid"]
    handle.rpc("module.reload", {"name": "count", "args": ["new"]}).get()
    assert handle.rpc("count.info").get()["args"] == ["new"]
    assert modules(handle)["count"]["pid"] != before


def test_what_fails_is_contained(load: Callable[..., Any], running: Instance) -> None:
    handle = load("count.py")
    with pytest.raises(FluxError, match="exited with status 1"):
        handle.rpc("count.fail").get()
    assert "count.err[0]: module runtime failure: KeyError: 'note'" in running.run("flux", "dmesg").stdout
    handle.rpc("module.reload", {"name": "count"}).get()
    handle.rpc("count.stop-error").get()
    wait_for(lambda: "exited with status 1" in modules(handle)["count"]["note"], what="its failure")
    handle.rpc("module.reload", {"name": "count"}).get()
    handle.event_publish("count.end")
    wait_for(lambda: "exited with status 0" in modules(handle)["count"]["note"], what="its end")


def test_a_function_is_a_module(load: Callable[..., Any]) -> None:
    handle = load("plain.py", "x")
    assert handle.rpc("plain.args").get() == {"args": ["x"]}
    for file, text in (("plain.py", "plain is loaded already"), ("two.py", "found: Count, Other")):
        with pytest.raises(FluxError, match=text):
            load(file)


def test_why_it_did_not_start_is_told(running: Instance, folder: Path) -> None:
    done = running.run("flux", "module", "load", str(folder / "plain.py"), "bad")
    assert (done.returncode, done.stderr) == (1, "flux-module: plain: bad is no argument\n")
    assert "plain" not in modules(running.handle())


def test_a_composition_may_name_one(running: Instance) -> None:
    info = running.handle().rpc("planned.info").get()
    assert (info["args"], info["level"]) == (["a=1", "quiet"], "err")
