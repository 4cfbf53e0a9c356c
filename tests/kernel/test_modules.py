"""What an administrator does with modules on a live instance, in the broker's process and outside (RFC 5)."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flux.constants import FLUX_RPC_STREAMING
from flux.errors import FluxError
from flux.testing import Instance, wait_for

HERE = Path(__file__).parent
GREETER = str(HERE / "modules" / "greeter.py")
MINIMAL = [f"--plugins={HERE / 'kernel.toml'}"]


@pytest.fixture
def handle(instance: Callable[..., Instance]) -> Any:
    with_flux = instance(size=2, args=MINIMAL).handle()
    yield with_flux
    for module in with_flux.rpc("module.list").get()["mods"]:
        if module["name"].startswith(("greeter", "broken")):
            with_flux.rpc("module.remove", {"name": module["name"]}).get()
    with_flux.close()


@pytest.fixture(params=[False, True], ids=["in-process", "isolated"])
def isolated(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def load(handle: Any, path: str = GREETER, **options: Any) -> None:
    handle.rpc("module.load", {"path": path, "args": [], **options}).get()


def listed(handle: Any, name: str = "greeter") -> dict[str, Any] | None:
    return next((mod for mod in handle.rpc("module.list").get()["mods"] if mod["name"] == name), None)


def fails(errnum: int, says: str, call: Callable[[], Any]) -> None:
    with pytest.raises(FluxError, match=says) as caught:
        call()
    assert caught.value.errno == errnum


def test_a_module_serves_in_either_place(handle: Any, isolated: bool) -> None:
    load(handle, exec=isolated, args=["greeting=good day"])
    assert handle.rpc("greeter.hello", {"who": "world"}).get() == {"text": "good day, world"}
    assert handle.rpc("greeter.typed", {"who": "ab", "times": 2}).get() == {"text": "abab"}
    slow = handle.rpc("greeter.slow").get()
    assert (slow["pid"] != int(handle.attr_get("broker.pid"))) == isolated
    assert [answer["i"] for answer in handle.rpc("greeter.stream", flags=FLUX_RPC_STREAMING)] == [0, 1, 2]
    found = listed(handle)
    assert found is not None
    assert (found["status"], found["isolated"]) == (1, isolated)
    handle.rpc("module.remove", {"name": "greeter"}).get()
    fails(errno.ENOSYS, "No service matching greeter.hello", lambda: handle.rpc("greeter.hello", {"who": "x"}).get())


def test_default_methods(handle: Any, isolated: bool) -> None:
    load(handle, exec=isolated)
    ping = handle.rpc("greeter.ping", {"seq": 3}).get()
    assert (ping["seq"], ping["rank"], ping["route"].count("!")) == (3, 0, 1)
    handle.rpc("greeter.hello", {"who": "x"}).get()
    stats = handle.rpc("greeter.stats-get").get()
    assert stats["greeted"] == 1
    assert stats["rx"]["request"] >= 2
    handle.rpc("greeter.stats-clear").get()
    assert handle.rpc("greeter.stats-get").get()["rx"]["request"] == 1
    assert handle.rpc("greeter.rusage", {"who": "self"}).get()["maxrss"] > 0
    fails(errno.EINVAL, "you is unsupported", lambda: handle.rpc("greeter.rusage", {"who": "you"}).get())
    assert handle.rpc("greeter.debug", {"op": "setbit", "flags": 6}).get() == {"flags": 6}
    assert handle.rpc("greeter.debug", {"op": "clrbit", "flags": 2}).get() == {"flags": 4}


def test_events_reach_a_module_only_while_it_runs(handle: Any, isolated: bool) -> None:
    load(handle, exec=isolated)
    handle.event_publish("greeter.note", {"text": "one"})
    wait_for(lambda: handle.rpc("greeter.heard").get() == {"heard": ["one"]}, what="the event's arrival")


@pytest.mark.parametrize(
    ("topic", "payload", "errnum", "says"),
    [
        ("greeter.nope", {}, errno.ENOSYS, "Unknown service method 'greeter.nope'"),
        ("greeter.typed", {"who": 3}, errno.EPROTO, r"\$.who"),
        ("greeter.typed", {}, errno.EPROTO, "who"),
        ("greeter.typed", b"{\0", errno.EPROTO, "payload"),
        ("greeter.hello", b"[1]\0", errno.EPROTO, "object"),
        ("greeter.stream", {}, errno.EPROTO, "streaming"),
        ("greeter.refuse", {}, errno.EEXIST, "there is one already"),
        ("greeter.bug", {}, errno.EINVAL, "ZeroDivisionError"),
    ],
)
def test_mistakes_are_answered_and_contained(
    handle: Any, topic: str, payload: Any, errnum: int, says: str, isolated: bool
) -> None:
    load(handle, exec=isolated)
    fails(errnum, says, lambda: handle.rpc(topic, payload).get())
    assert handle.rpc("greeter.hello", {"who": "x"}).get()


def test_an_unexpected_exception_marks_the_module_and_is_logged(handle: Any) -> None:
    load(handle)
    fails(errno.EINVAL, "ZeroDivisionError", lambda: handle.rpc("greeter.bug").get())
    found = listed(handle)
    assert found is not None
    assert found["errors"] == 1
    assert "ZeroDivisionError" in found["note"]
    assert any("Traceback" in line for line in dmesg(handle))


def dmesg(handle: Any) -> list[str]:
    rpc = handle.rpc("log.dmesg", {"follow": False}, flags=FLUX_RPC_STREAMING)
    lines = []
    while True:
        try:
            lines.append(rpc.get_str())
        except FluxError as exc:
            assert exc.errno == errno.ENODATA
            return lines
        rpc.reset()


def test_guests_need_to_be_allowed(handle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    load(handle)
    from flux.message import REQUEST, Message

    def as_guest(topic: str, payload: Any) -> Message:
        handle.send(Message(REQUEST, topic, payload, userid=4242, rolemask=2, aux=0xFFFFFFFF, matchtag=99, routes=[]))
        answers: list[Message] = []
        monkeypatch.setattr(handle.session, "deliver", answers.append)
        handle.wait_until(lambda: bool(answers), 10)
        return answers[0]

    assert as_guest("greeter.hello", {"who": "guest"}).payload == {"text": "hello, guest"}
    refused = as_guest("greeter.typed", {"who": "guest"})
    assert (refused.errnum, refused.payload_str) == (errno.EPERM, "Request requires owner credentials")


def test_one_class_under_several_names(handle: Any) -> None:
    load(handle)
    load(handle, name="greeter2", args=["greeting=hi"])
    assert handle.rpc("greeter2.hello", {"who": "x"}).get() == {"text": "hi, x"}
    fails(errno.EEXIST, "greeter is loaded already", lambda: load(handle))
    fails(errno.EEXIST, "attr is loaded already", lambda: load(handle, name="attr"))


def test_load_failures_say_why_and_leave_nothing(handle: Any, isolated: bool, tmp_path: Path) -> None:
    def attempt(path: str, **options: Any) -> Callable[[], None]:
        return lambda: load(handle, path, exec=isolated, **options)

    broken = str(HERE / "modules" / "broken.py")
    fails(errno.EINVAL, "broken: RuntimeError: no coffee", attempt(broken))
    assert listed(handle, "broken") is None
    fails(
        errno.EINVAL, "greeter has no argument 'greting'; did you mean 'greeting'", attempt(GREETER, args=["greting=x"])
    )
    fails(errno.ENOENT, "no such plugin file", attempt(str(tmp_path / "none.py")))
    fails(errno.ENOENT, "heartbeet.*installed", attempt("heartbeet"))
    bad = tmp_path / "bad.py"
    bad.write_text("import nothing_of_that_name\n")
    fails(errno.EINVAL, r"bad\.py", attempt(str(bad)))
    assert handle.rpc("attr.get", {"name": "size"}).get()["value"] == "2"


def test_removing_a_module_answers_what_it_had_not(handle: Any, isolated: bool) -> None:
    load(handle, exec=isolated)
    stuck = handle.rpc("greeter.stuck")
    forever = handle.rpc("greeter.forever", flags=FLUX_RPC_STREAMING)
    assert forever.get() == {"i": 0}
    forever.reset()
    handle.rpc("module.remove", {"name": "greeter"}).get()
    fails(errno.ENOSYS, "unloaded", stuck.get)
    fails(errno.ENOSYS, "unloaded", forever.get)
    fails(errno.ENOENT, "greeter is not loaded", lambda: handle.rpc("module.remove", {"name": "greeter"}).get())


def test_a_killed_process_costs_that_module_alone(handle: Any) -> None:
    load(handle, exec=True)
    stuck = handle.rpc("greeter.stuck")
    found = listed(handle)
    assert found is not None
    os.kill(found["pid"], signal.SIGKILL)
    fails(errno.EHOSTUNREACH, "killed by signal 9", stuck.get)
    after = listed(handle)
    assert after is not None
    assert after["status"] == 3
    assert "killed by signal 9" in after["note"]
    fails(errno.ENOSYS, "No service matching", lambda: handle.rpc("greeter.hello", {"who": "x"}).get())
    assert handle.rpc("attr.get", {"name": "size"}).get()["value"] == "2"
    load(handle, exec=True)
    assert handle.rpc("greeter.hello", {"who": "x"}).get()


def test_a_client_killed_in_mid_request_leaves_nothing(handle: Any, instance: Callable[..., Instance]) -> None:
    import subprocess
    import sys

    load(handle)
    script = (
        "import flux\n"
        "h = flux.Flux()\n"
        "h.event_subscribe('x'); h.service_register('mine').get()\n"
        "rpc = h.rpc('greeter.forever', flags=0x40); rpc.get(); h.rpc('greeter.stuck')\n"
        "print('ready', flush=True)\n"
        "h.recv()\n"
    )
    before = handle.rpc("broker.stats-get").get()
    env = instance(size=2, args=MINIMAL).env
    client = subprocess.Popen([sys.executable, "-c", script], env=env, stdout=subprocess.PIPE)
    assert client.stdout is not None
    assert client.stdout.readline() == b"ready\n"
    during = handle.rpc("broker.stats-get").get()
    assert (during["links"], during["pending"]) == (before["links"] + 1, before["pending"] + 2)
    client.kill()
    client.wait()
    client.stdout.close()

    def clean() -> bool:
        now = handle.rpc("broker.stats-get").get()
        return all(now[key] == before[key] for key in ("links", "pending", "services"))

    wait_for(clean, what="the switch forgetting the client")


def test_modules_on_other_ranks(handle: Any) -> None:
    handle.rpc("module.load", {"path": GREETER, "args": []}, nodeid=1).get()
    assert handle.rpc("greeter.slow", nodeid=1).get()["rank"] == 1
    assert listed(handle) is None
    handle.rpc("module.remove", {"name": "greeter"}, nodeid=1).get()
