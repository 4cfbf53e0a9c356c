"""A module is exchanged while it is used: nothing is lost, nothing done twice, a bad one never takes over."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flux import Flux
from flux.constants import FLUX_RPC_STREAMING
from flux.errors import FluxError
from flux.testing import Instance

HERE = Path(__file__).parent
MINIMAL = [f"--plugins={HERE / 'kernel.toml'}"]
RELOADS = 20
CLIENTS = 3


@pytest.fixture
def running(instance: Callable[..., Instance]) -> Instance:
    return instance(size=1, args=MINIMAL)


@pytest.fixture
def handle(running: Instance) -> Any:
    with running.handle() as flux:
        yield flux
        if any(mod["name"] == "counter" for mod in flux.rpc("module.list").get()["mods"]):
            flux.rpc("module.remove", {"name": "counter"}).get()


@pytest.fixture(params=["counter", "exclusive"])
def source(request: pytest.FixtureRequest) -> str:
    return str(HERE / "modules" / f"{request.param}.py")


@pytest.fixture(params=[False, True], ids=["in-process", "isolated"])
def isolated(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def load(handle: Any, source: str, notes: Path, isolated: bool) -> None:
    handle.rpc("module.load", {"path": source, "args": [f"file={notes}"], "exec": isolated}).get()


class Client(threading.Thread):
    """Asks without pause until told to stop, a window of requests at a time."""

    def __init__(self, uri: str, number: int, topics: list[str]) -> None:
        super().__init__()
        self.uri, self.number, self.topics = uri, number, topics
        self.enough = threading.Event()
        self.asked: list[str] = []
        self.answers: list[dict[str, Any]] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with Flux(self.uri) as flux:
                while not self.enough.is_set():
                    self._ask(flux)
        except BaseException as exc:
            self.error = exc

    def _ask(self, flux: Flux) -> None:
        ids = [f"{self.number}-{len(self.asked) + i}" for i in range(16)]
        self.asked += ids
        calls = [flux.rpc(self.topics[i % len(self.topics)], {"id": each}) for i, each in enumerate(ids)]
        self.answers += [call.get() for call in calls]


def test_no_request_is_lost_or_served_twice(
    running: Instance, handle: Any, source: str, isolated: bool, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    load(handle, source, notes, isolated)
    topics = ["counter.count", "tally.add"] + ["counter.later"] * source.endswith("counter.py")
    clients = [Client(running.uri_of(0), number, topics) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        for _ in range(RELOADS):
            handle.rpc("module.reload", {"name": "counter"}).get()
    finally:
        for client in clients:
            client.enough.set()
        for client in clients:
            client.join()
    assert [client.error for client in clients] == [None] * CLIENTS
    asked = [each for client in clients for each in client.asked]
    answers = [answer for client in clients for answer in client.answers]
    assert [answer["id"] for answer in answers] == asked
    assert sorted(notes.read_text().split()) == sorted(asked)
    assert len({answer["by"] for answer in answers}) > 1, "several instances have served"


def test_each_event_is_taken_once_and_in_order(
    running: Instance, handle: Any, source: str, isolated: bool, tmp_path: Path
) -> None:
    load(handle, source, tmp_path / "notes", isolated)
    published: list[int] = []
    enough = threading.Event()

    def publish() -> None:
        with Flux(running.uri_of(0)) as flux:
            while not enough.is_set():
                flux.event_publish("counter.tick", {"id": len(published)})
                published.append(len(published))

    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        for _ in range(3):
            handle.rpc("module.reload", {"name": "counter"}).get()
        with pytest.raises(FluxError, match="told to fail"):
            handle.rpc("module.reload", {"name": "counter", "args": [f"file={tmp_path}/notes", "fail"]}).get()
    finally:
        enough.set()
        publisher.join()
    handle.rpc("counter.ping", {}).get()
    assert [int(line) for line in (tmp_path / "notes.events").read_text().split()] == published


def test_the_old_one_stays_when_the_new_one_fails(handle: Any, source: str, isolated: bool, tmp_path: Path) -> None:
    load(handle, source, tmp_path / "notes", isolated)
    reload = handle.rpc("module.reload", {"name": "counter", "args": [f"file={tmp_path}/notes", "fail"]})
    waiting = handle.rpc("tally.add", {"id": "1"})
    with pytest.raises(FluxError, match="counter: told to fail") as caught:
        reload.get()
    assert caught.value.errno == errno.EINVAL
    assert waiting.get()["id"] == "1"
    assert handle.rpc("counter.count", {"id": "2"}).get()["id"] == "2"
    (listed,) = [mod for mod in handle.rpc("module.list").get()["mods"] if mod["name"] == "counter"]
    assert (listed["status"], listed["services"], listed["isolated"]) == (1, ["tally"], isolated)


def test_what_the_old_one_put_off_ends(handle: Any, isolated: bool, tmp_path: Path) -> None:
    load(handle, str(HERE / "modules" / "counter.py"), tmp_path / "notes", isolated)
    put_off = [handle.rpc("counter.never"), handle.rpc("counter.never", flags=FLUX_RPC_STREAMING)]
    handle.rpc("counter.count", {"id": "0"}).get()
    handle.rpc("module.reload", {"name": "counter"}).get()
    for call in put_off:
        with pytest.raises(FluxError) as caught:
            call.get()
        assert caught.value.errno == errno.ENOSYS


def test_services_the_new_one_has_not_are_withdrawn(handle: Any, tmp_path: Path) -> None:
    load(handle, str(HERE / "modules" / "counter.py"), tmp_path / "notes", False)
    plain = tmp_path / "plain.py"
    plain.write_text(
        "import msgspec\nfrom flux.module import Module\n\n"
        "class Options(msgspec.Struct):\n    file: str\n\n"
        'class Plain(Module):\n    name = "counter"\n    options_type = Options\n'
    )
    handle.rpc("module.reload", {"name": "counter", "path": str(plain)}).get()
    assert handle.rpc("counter.ping", {}).get()["rank"] == 0
    with pytest.raises(FluxError, match=r"No service matching tally\.add"):
        handle.rpc("tally.add", {"id": "1"}).get()


def test_what_cannot_be_reloaded(handle: Any) -> None:
    for name, errnum in (("broker", errno.EPERM), ("nosuch", errno.ENOENT)):
        with pytest.raises(FluxError) as caught:
            handle.rpc("module.reload", {"name": name}).get()
        assert caught.value.errno == errnum
