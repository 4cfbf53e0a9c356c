"""Attributes as flux-broker-attributes(7) has them: which are there, their defaults, and who may change them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flux.errors import FluxError
from flux.testing import Instance
from flux_plugins.attr import READ_ONLY

FIXED = {
    "size": "2",
    "version": "0.88.0",
    "security.owner": str(os.getuid()),
    "hostlist": None,
    "hostname": None,
    "instance-level": "0",
    "jobid-path": "/",
    "parent-uri": None,
    "rundir": None,
    "local-uri": None,
    "broker.boot-method": "pmi",
    "broker.mapping": "[[0,1,2,1]]",
    "broker.critical-ranks": "0",
    "broker.quorum": "2",
    "broker.quorum-warn": "60s",
    "broker.quorum-timeout": "none",
    "broker.cleanup-timeout": "none",
    "broker.shutdown-warn": "60s",
    "broker.shutdown-timeout": "none",
    "broker.unload-builtins-timeout": "60s",
    "broker.sd-stop-timeout": "none",
    "tbon.topo": "kary:32",
    "tbon.fanout": "32",
    "tbon.maxlevel": "1",
    "tbon.endpoint": None,
    "tbon.prefertcp": "0",
    "tbon.interface-hint": "default-route",
    "tbon.torpid_min": "5s",
    "tbon.torpid_max": "30s",
    "tbon.tcp_user_timeout": "20s",
    "tbon.connect_timeout": "30s",
    "tbon.zmq_io_threads": "1",
    "tbon.zmqdebug": "0",
    "tbon.child_rcvhwm": "0",
    "log-ring-size": "1024",
    "log-ring-used": None,
    "log-count": None,
    "log-level": "7",
    "log-forward-level": "3",
    "log-critical-level": "2",
    "log-stderr-level": "3",
    "log-stderr-mode": "leader",
    "log-syslog-enable": "0",
    "log-syslog-level": "3",
    "content.hash": "sha1",
    "content.backing-module": "content-sqlite",
    "content.blob-size-limit": "1073741824",
    "content.flush-batch-limit": "1024",
    "content.purge-old-entry": "10",
    "content.purge-target-size": "16777216",
    "content.acct-dirty": None,
    "content.acct-entries": None,
    "content.acct-size": None,
    "content.acct-valid": None,
    "content.flush-batch-count": "0",
}
"""Of rank 0; None: any value."""

CANNOT_BE_GIVEN = "rank size version security.owner broker.pid broker.uuid broker.starttime".split()


@pytest.fixture(scope="module")
def running() -> Iterator[Instance]:
    with Instance(2) as instance:
        yield instance


@pytest.mark.parametrize("name", FIXED)
def test_name_and_default(running: Instance, name: str) -> None:
    handle = running.handle()
    assert name in handle.rpc("attr.list").get()["names"]
    if FIXED[name] is not None:
        assert handle.rpc("attr.get", {"name": name}).get()["value"] == FIXED[name]


@pytest.mark.parametrize("rank", [0, 1])
def test_what_differs_by_rank(running: Instance, rank: int) -> None:
    handle = running.handle(rank)
    names = "rank tbon.level tbon.descendants broker.pid".split()
    assert [handle.attr_get(name) for name in names[:3]] == [str(rank), str(rank), str(1 - rank)]
    assert os.path.exists(f"/proc/{handle.attr_get('broker.pid')}")
    assert ("tbon.parent-endpoint" in handle.rpc("attr.list").get()["names"]) == (rank == 1)


@pytest.mark.parametrize("name", READ_ONLY)
@pytest.mark.parametrize("topic", ["attr.set", "attr.rm"])
def test_immutable_ones_are_refused(running: Instance, name: str, topic: str) -> None:
    handle = running.handle()
    try:
        answer = handle.rpc("attr.get", {"name": name}).get()
    except FileNotFoundError:
        return  # it has no value in this instance
    assert answer["flags"] == 1
    with pytest.raises(FluxError, match=f"attribute {name} is immutable") as caught:
        handle.rpc(topic, {"name": name, "value": "1", "force": True}).get()
    assert caught.value.errno == errno.EPERM


def refusal(handle: Any, topic: str, payload: dict[str, Any]) -> tuple[int, str]:
    with pytest.raises(FluxError) as caught:
        handle.rpc(topic, payload).get()
    return caught.value.errno or 0, str(caught.value)


def test_errors_of_attr_set(running: Instance) -> None:
    handle = running.handle()
    assert refusal(handle, "attr.set", {"name": "nosuch", "value": "1"})[0] == errno.ENOENT
    assert "may not be updated" in refusal(handle, "attr.set", {"name": "tbon.zmqdebug", "value": "1"})[1]
    errnum, text = refusal(handle, "attr.set", {"name": "log-stderr-level", "value": "9"})
    assert (errnum, "-1 to 7" in text) == (errno.EINVAL, True)
    assert handle.attr_get("log-stderr-level") == "3"
    assert refusal(handle, "attr.set", {"name": "size"})[0] == errno.EPROTO


def test_commands_and_their_exit_codes(running: Instance) -> None:
    run: Callable[..., Any] = running.run
    assert run("flux", "setattr", "test.color", "red").returncode == 0
    assert run("flux", "getattr", "test.color").stdout == "red\n"
    assert "test.color                              red\n" in run("flux", "lsattr", "--values").stdout
    assert run("flux", "setattr", "--expunge", "test.color").returncode == 0
    gone = run("flux", "getattr", "test.color")
    assert (gone.returncode, gone.stdout) == (1, "")
    assert "test.color" not in run("flux", "lsattr").stdout
    immutable = run("flux", "setattr", "rank", "7")
    assert (immutable.returncode, "immutable" in immutable.stderr) == (1, True)
    assert run("flux", "setattr", "--expunge", "size").returncode == 1
    assert "did you mean hostlist" in run("flux", "getattr", "hostlst").stderr


@pytest.mark.parametrize("name", CANNOT_BE_GIVEN)
def test_the_brokers_own_cannot_be_given(running: Instance, name: str) -> None:
    done = running.run("flux", "start", f"--setattr={name}=5", "true")
    assert done.returncode != 0
    assert name in done.stderr


TESTRD = """
from errno import EINVAL
from flux.errors import FluxError
from flux.module import Module, request

class TestRd(Module):
    name = "testrd"

    @request("setattr")
    def setattr(self, msg):
        if msg.payload["value"] == "bad":
            raise FluxError(EINVAL, f"{msg.payload['name']} is no good")
"""


def test_a_service_is_asked_whether_its_attribute_may_change(instance: Callable[..., Instance], tmp_path: Path) -> None:
    running = instance(size=1)
    assert "No service matching testrd.setattr" in running.run("flux", "setattr", "test-rd.a", "1").stderr
    (tmp_path / "testrd.py").write_text(TESTRD)
    assert running.run("flux", "module", "load", f"{tmp_path}/testrd.py").returncode == 0
    assert running.run("flux", "setattr", "test-rd.a", "1").returncode == 0
    assert "test-rd.a is no good" in running.run("flux", "setattr", "test-rd.a", "bad").stderr
    assert running.run("flux", "getattr", "test-rd.a").stdout == "1\n"
