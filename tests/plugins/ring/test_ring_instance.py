"""The ring of real brokers: it reaches ranks that the tree does not, and says so when it cannot."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flux.errors import FluxError
from flux.frames import encode_frame
from flux.message import FLAG_STREAMING, ROLE_USER, Message
from flux.ring import RingRoute
from flux.testing import Instance, wait_for

COMPOSITION = """\
[bootstrap.pmi]
[transports.local]
[transports.overlay]
[modules.state-machine]
[modules.attr]
[modules.log]
[modules.config]
[modules.groups]
[modules.rexec]
args = { warm = {} }
[modules.ring]
args = { timeout = 5.0, retry = 0.5 }
"""


def start(tmp_path: Path, size: int, composition: str, **attrs: str) -> Instance:
    path = tmp_path / "plugins.toml"
    path.write_text(composition)
    settings = {"tbon.topo": "kary:1", **{name.replace("__", "."): value for name, value in attrs.items()}}
    return Instance(size, settings, [f"--plugins={path}", "--test-exit-mode=leader"]).start()


def start_chain(tmp_path: Path) -> Instance:
    """Five brokers, each below the one before."""
    instance = start(tmp_path, 5, COMPOSITION)
    wait_for(lambda: complete(instance), what="a whole ring")
    return instance


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    instance = start_chain(tmp_path_factory.mktemp("chain"))
    yield instance
    instance.stop()


@pytest.fixture
def doomed_chain(tmp_path: Path) -> Iterator[Instance]:
    instance = start_chain(tmp_path)
    yield instance
    instance.stop()


def stats(instance: Instance, rank: int = 0) -> dict[str, Any]:
    return dict(instance.handle(rank).rpc("ring.stats-get", nodeid=rank).get())


def complete(instance: Instance) -> bool:
    return all(stats(instance, rank)["next"] == (rank + 1) % instance.size for rank in range(instance.size))


def ping(route: RingRoute, rank: int) -> int:
    return int(route.rpc("broker.ping", {"seq": 0, "pad": ""}, rank).get()["rank"])


def reaches(route: RingRoute, rank: int) -> bool:
    """False when the rank cannot be reached."""
    try:
        return ping(route, rank) == rank
    except FluxError as exc:
        assert exc.errno == errno.EHOSTUNREACH
        return False


def reaches_all(instance: Instance) -> bool:
    route = RingRoute(instance.handle(1))
    return all(reaches(route, rank) for rank in range(instance.size))


def test_each_rank_reaches_each_other_and_itself(chain: Instance) -> None:
    returned = stats(chain)["returned"]
    for source in range(5):
        route = RingRoute(chain.handle(source))
        assert [ping(route, rank) for rank in range(5)] == list(range(5))
    # four hops to rank 4, and one more of its answer back to rank 0
    assert stats(chain, 2)["passed"] > 0 and stats(chain)["returned"] == returned
    with pytest.raises(FluxError, match="rank 7 is not in the ring") as caught:
        ping(RingRoute(chain.handle()), 7)
    assert caught.value.errno == errno.EHOSTUNREACH


def test_ping_and_exec_go_past_a_broker_that_hangs(chain: Instance) -> None:
    pid = chain.broker_pid(2)
    os.kill(pid, signal.SIGSTOP)
    try:
        found = chain.run("flux", "ping", "--ring", "--count=2", "--interval=0", "4")
        assert found.returncode == 0 and found.stdout.count("4!broker.ping") == 2, found
        command = ["sh", "-c", "cat; echo $(flux getattr rank) >&2; exit 3"]
        found = chain.run("flux", "exec", "--ring", "-l", "-r", "1,3-4", *command, input="hello\n")
        assert found.returncode == 3
        assert sorted(found.stdout.splitlines()) == ["1: hello", "3: hello", "4: hello"]
        assert {"1: 1", "3: 3", "4: 4"} <= set(found.stderr.splitlines())
        found = chain.run("flux", "exec", "--ring", "-r", "2", "true")
        assert found.returncode == 68 and "rank 2 cannot be reached by the ring" in found.stderr
    finally:
        os.kill(pid, signal.SIGCONT)
    route = RingRoute(chain.handle())
    wait_for(lambda: reaches(route, 2), what="rank 2 in the ring again")


def test_a_killed_broker_is_left_out_and_what_waits_on_it_answered(doomed_chain: Instance) -> None:
    route = RingRoute(doomed_chain.handle())
    watching = route.rpc("state-machine.monitor", {"final": 11}, 2, FLAG_STREAMING)
    assert watching.get()["state"] > 0
    os.kill(doomed_chain.broker_pid(2), signal.SIGKILL)
    with pytest.raises(FluxError, match=r"lost to the ring|cannot be reached by the ring") as caught:
        list(watching)
    assert caught.value.errno == errno.EHOSTUNREACH
    wait_for(lambda: reaches(route, 3), what="rank 3 behind the lost one")
    assert ping(route, 4) == 4
    assert not reaches(route, 2)
    wait_for(lambda: stats(doomed_chain, 1)["left-out"] == [2], what="rank 1 going past rank 2")


def test_the_end_of_a_client_ends_its_processes(chain: Instance) -> None:
    command = [chain.command[0], "exec", "--ring", "-r", "3", "sh", "-c", "echo here; exec sleep 1000"]
    visitors = stats(chain, 3)["visitors"]
    client = subprocess.Popen(command, env=chain.env, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert client.stdout is not None
    with client.stdout:
        assert client.stdout.readline() == b"here\n"
        client.kill()
        client.wait()
    served = chain.handle(3)
    wait_for(lambda: not served.rpc("rexec.list", nodeid=3).get()["procs"], what="the end of the process")
    wait_for(lambda: stats(chain, 3)["visitors"] == visitors, what="the end of the visit")


def test_a_module_that_is_exchanged_takes_its_place_again(chain: Instance) -> None:
    for rank in (0, 2):
        found = chain.run("flux", "module", "reload", "-r", str(rank), "ring")
        assert found.returncode == 0, found.stderr
        wait_for(lambda: complete(chain), what="a whole ring")
        wait_for(lambda: reaches_all(chain), what="every rank being reached")


def test_guests_are_refused_and_odd_requests_explained(chain: Instance) -> None:
    handle = chain.handle()
    route = RingRoute(handle)
    with pytest.raises(FluxError, match=r"No service matching nosuch.thing") as caught:
        route.rpc("nosuch.thing", {}, 3).get()
    assert caught.value.errno == errno.ENOSYS
    with pytest.raises(FluxError, match="cannot go by the ring") as caught:
        route.rpc("event.subscribe", {"topic": ""}, 3).get()
    assert caught.value.errno == errno.EINVAL
    for payload in (b"", b"junk", encode_frame(Message(8, routes=[]))):
        with pytest.raises(FluxError) as caught:
            handle.rpc("ring.forward", payload, 0).get()
        assert caught.value.errno == errno.EPROTO
    send = handle.session.start_rpc

    def as_guest(rpc: Any, msg: Message) -> None:
        msg.userid, msg.rolemask = 65534, ROLE_USER
        send(rpc, msg)

    handle.session.start_rpc = as_guest
    for topic in ("ring.forward", "ring.register"):
        with pytest.raises(FluxError) as caught:
            handle.rpc(topic, {}, 0).get()
        assert caught.value.errno == errno.EPERM


def test_without_the_module_the_commands_say_how_to_have_it(tmp_path: Path) -> None:
    instance = start(tmp_path, 2, COMPOSITION.partition("[modules.ring]")[0])
    try:
        for command in (["ping", "--ring", "1"], ["exec", "--ring", "true"]):
            found = instance.run("flux", *command)
            assert found.returncode == 1 and "flux module load -r all ring" in found.stderr
        assert "give one" in instance.run("flux", "ping", "--ring", "broker").stderr
        loaded = instance.run("flux", "module", "load", "-r", "all", "ring")
        assert loaded.returncode == 0, loaded
        wait_for(lambda: complete(instance), what="a whole ring")
        assert instance.run("flux", "ping", "--ring", "-c1", "1").returncode == 0
        assert instance.run("flux", "module", "remove", "-r", "all", "ring").returncode == 0
        assert [name for name in os.listdir(instance.rundir) if name.startswith("ring")] == []
    finally:
        instance.stop()
