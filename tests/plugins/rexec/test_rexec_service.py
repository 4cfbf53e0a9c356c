"""`rexec` on a running instance: what `flux exec` and job-exec rely on (RFC 42)."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

import flux
from flux.constants import FLUX_RPC_STREAMING
from flux.errors import FluxError
from flux.stdio import decode_io, encode_io
from flux.testing import Instance, runs, wait_for

COMPOSITION = Path(__file__).with_name("rexec.toml")
STDOUT, STDERR, CHANNEL, CREDIT, WAITABLE = 1, 2, 4, 8, 16


def command(*cmdline: str, **extra: Any) -> dict[str, Any]:
    return {"cmdline": list(cmdline), "env": {"PATH": os.environ["PATH"]}, "opts": {}, "channels": [], **extra}


def start(handle: flux.Flux, *cmdline: str, flags: int = STDOUT | STDERR, **extra: Any) -> Any:
    request = {"cmd": command(*cmdline, **extra), "flags": flags, "local_flags": 0}
    return handle.rpc("rexec.exec", request, flags=FLUX_RPC_STREAMING)


def background(handle: flux.Flux, *cmdline: str, flags: int = 0, **extra: Any) -> int:
    request = {"cmd": command(*cmdline, **extra), "flags": flags, "local_flags": 0}
    return int(handle.rpc("rexec.exec", request).get()["pid"])


def output(responses: list[dict[str, Any]], stream: str = "stdout") -> bytes:
    chunks = [decode_io(r["io"]) for r in responses if r["type"] == "output"]
    return b"".join(chunk.data for chunk in chunks if chunk.stream == stream)


def status(responses: list[dict[str, Any]]) -> int:
    return next(r["status"] for r in responses if r["type"] == "finished")


def next_of(rpc: Any, kind: str) -> dict[str, Any]:
    """The next response of that type."""
    while True:
        response: dict[str, Any] = rpc.get()
        rpc.reset()
        if response["type"] == kind:
            return response


def test_started_comes_first_and_each_stream_ends_once(handle: flux.Flux) -> None:
    responses = list(start(handle, "sh", "-c", "echo out; echo err >&2; exit 3"))
    assert responses[0]["type"] == "started"
    assert (output(responses), output(responses, "stderr")) == (b"out\n", b"err\n")
    assert os.waitstatus_to_exitcode(status(responses)) == 3
    assert sum(r["io"].get("eof", False) for r in responses if r["type"] == "output") == 2


def test_output_that_is_no_text_arrives_byte_for_byte(handle: flux.Flux) -> None:
    responses = list(start(handle, "printf", r"\377\376\n\000x"))
    assert output(responses) == b"\xff\xfe\n\0x"


@pytest.mark.parametrize("cmdline", [("nosuchprogram",), ("/dev/null",), ("flux-shell", "1")])
def test_what_cannot_be_started_is_an_error_response(handle: flux.Flux, cmdline: tuple[str, ...]) -> None:
    with pytest.raises(FluxError, match="error launching process") as caught:
        list(start(handle, *cmdline, cwd="/proc/nonexistent"))
    assert caught.value.errno in (errno.ENOENT, errno.EACCES)


def test_bad_requests_are_refused(handle: flux.Flux) -> None:
    with pytest.raises(FluxError, match="command string is empty"):
        list(start(handle))
    with pytest.raises(FluxError, match="waitable flag only supported in background mode"):
        list(start(handle, "true", flags=WAITABLE))
    with pytest.raises(FluxError) as caught:
        handle.rpc("rexec.exec", {"flags": 0}).get()
    assert caught.value.errno == errno.EPROTO


def test_environment_is_literal_but_for_flux_uri(handle: flux.Flux, rexec: Instance) -> None:
    env = {"PATH": os.environ["PATH"], "A": "$HOME", "NOTIFY_SOCKET": "x", "FLUX_URI": "local:///elsewhere"}
    lines = output(list(start(handle, "env", env=env))).decode().splitlines()
    assert f"FLUX_URI={rexec.uri}" in lines
    assert "A=$HOME" in lines
    assert not any(line.startswith("NOTIFY_SOCKET") for line in lines)


def test_empty_environment_means_the_brokers(handle: flux.Flux) -> None:
    assert b"PATH=" in output(list(start(handle, "env", env={})))


def test_stdin_is_written_with_credit_and_ended(handle: flux.Flux) -> None:
    rpc = start(handle, "cat", flags=STDOUT | CREDIT)
    pid = next_of(rpc, "started")["pid"]
    assert next_of(rpc, "add-credit")["channels"]["stdin"] == 4194304
    text = b"x" * 300000 + b"\n"
    handle.notify("rexec.write", {"matchtag": rpc.matchtag, "io": encode_io("stdin", "0", text, True)})
    responses = list(rpc)
    assert output(responses) == text
    assert sum(r["channels"]["stdin"] for r in responses if r["type"] == "add-credit") == len(text)
    assert all(r["pid"] == pid for r in responses if r["type"] == "output")


def test_more_than_the_buffer_ends_the_request(handle: flux.Flux) -> None:
    rpc = start(handle, "sleep", "1000", opts={"stdin_BUFSIZE": "64k"})
    next_of(rpc, "started")
    for _ in range(3):
        handle.notify("rexec.write", {"matchtag": rpc.matchtag, "io": encode_io("stdin", "0", b"x" * 60000)})
    with pytest.raises(FluxError, match="more than 65536 bytes waiting") as caught:
        list(rpc)
    assert caught.value.errno == errno.ENOSPC


def test_channels_go_both_ways(handle: flux.Flux) -> None:
    script = 'import os, socket\ns = socket.socket(fileno=int(os.environ["CHAN"]))\ns.sendall(s.recv(100).upper())'
    rpc = start(handle, sys.executable, "-c", script, flags=STDOUT | CHANNEL, channels=["CHAN"])
    next_of(rpc, "started")
    handle.notify("rexec.write", {"matchtag": rpc.matchtag, "io": encode_io("CHAN", "0", b"hello\n")})
    assert output(list(rpc), "CHAN") == b"HELLO\n"


def test_kill_reaches_the_whole_group(handle: flux.Flux) -> None:
    rpc = start(handle, "sh", "-c", "sleep 1000 & echo ready; wait")
    pid = next_of(rpc, "started")["pid"]
    next_of(rpc, "output")
    handle.rpc("rexec.kill", {"pid": pid, "signum": signal.SIGTERM}).get()
    assert status(list(rpc)) == signal.SIGTERM


def test_kill_reaches_what_a_dead_leader_left(handle: flux.Flux) -> None:
    rpc = start(handle, "sh", "-c", "sleep 1000 & exit 3")
    pid = next_of(rpc, "started")["pid"]
    next_of(rpc, "finished")
    handle.rpc("rexec.kill", {"pid": pid, "signum": signal.SIGTERM}).get()
    assert [response["type"] for response in rpc][-1] == "output"


def test_unknown_processes_are_named(handle: flux.Flux) -> None:
    with pytest.raises(FluxError, match="pid 1 does not belong to any subprocess") as caught:
        handle.rpc("rexec.kill", {"pid": 1, "signum": 15}).get()
    assert caught.value.errno == errno.ESRCH
    with pytest.raises(FluxError, match="label x does not belong"):
        handle.rpc("rexec.wait", {"pid": -1, "label": "x"}).get()


def test_labels_name_processes_and_are_unique(handle: flux.Flux) -> None:
    rpc = start(handle, "sleep", "1000", label="sleeper")
    pid = next_of(rpc, "started")["pid"]
    listed = handle.rpc("rexec.list").get()
    found = next(proc for proc in listed["procs"] if proc["pid"] == pid)
    assert found.pop("state") in "RSD"
    assert found == {"pid": pid, "cmd": "sleep", "label": "sleeper"}
    with pytest.raises(FluxError, match="command label is not unique"):
        list(start(handle, "true", label="sleeper"))
    handle.rpc("rexec.kill", {"pid": -1, "signum": 9, "label": "sleeper"}).get()
    assert status(list(rpc)) == 9


def test_background_process_can_be_waited_for_with_its_output(handle: flux.Flux) -> None:
    pid = background(handle, "sh", "-c", "echo kept; exit 4", flags=WAITABLE)
    answer = handle.rpc("rexec.wait", {"pid": pid}).get()
    assert os.waitstatus_to_exitcode(answer["status"]) == 4
    assert [decode_io(io).data for io in answer["output"]] == [b"kept\n"]
    with pytest.raises(FluxError) as caught:
        handle.rpc("rexec.wait", {"pid": pid}).get()
    assert caught.value.errno == errno.ESRCH


def test_background_process_outlives_its_client(rexec: Instance, handle: flux.Flux) -> None:
    with flux.Flux(rexec.uri) as client:
        pid = background(client, "sleep", "1000")
    assert pid in [proc["pid"] for proc in handle.rpc("rexec.list").get()["procs"]]
    handle.rpc("rexec.kill", {"pid": pid, "signum": 9}).get()


def test_disconnect_kills_what_the_client_was_streaming(rexec: Instance, handle: flux.Flux) -> None:
    with flux.Flux(rexec.uri) as client:
        pid = next_of(start(client, "sleep", "1000"), "started")["pid"]
    wait_for(lambda: not runs(pid))
    wait_for(lambda: pid not in [proc["pid"] for proc in handle.rpc("rexec.list").get()["procs"]])


def test_shells_come_from_the_warm_parent_and_look_like_any_process(handle: flux.Flux) -> None:
    warm = handle.rpc("rexec.stats-get").get()["warm"]["flux-shell"]["pid"]
    rpc = start(handle, "flux-shell", "--help")
    responses = list(rpc)
    assert responses[0]["type"] == "started"
    assert b"usage: flux-shell" in output(responses)
    assert status(responses) == 0
    assert runs(warm)


def test_a_dead_warm_parent_is_replaced(handle: flux.Flux) -> None:
    list(start(handle, "flux-shell", "--help"))
    warm = handle.rpc("rexec.stats-get").get()["warm"]["flux-shell"]["pid"]
    os.kill(warm, signal.SIGKILL)
    wait_for(lambda: handle.rpc("rexec.stats-get").get()["warm"]["flux-shell"]["pid"] != warm)
    assert status(list(start(handle, "flux-shell", "--help"))) == 0
    assert handle.rpc("rexec.stats-get").get()["warm"]["flux-shell"]["pid"] not in (0, warm)


def test_a_module_that_had_a_dead_warm_parent_is_exchanged(rexec: Instance, handle: flux.Flux) -> None:
    list(start(handle, "flux-shell", "--help"))
    warm = handle.rpc("rexec.stats-get").get()["warm"]["flux-shell"]["pid"]
    os.kill(warm, signal.SIGKILL)
    wait_for(lambda: handle.rpc("rexec.stats-get").get()["warm"]["flux-shell"]["pid"] != warm)
    assert rexec.run("flux", "module", "reload", "rexec").returncode == 0
    log = rexec.run("flux", "dmesg").stdout
    assert "the warm parent of flux-shell ended with -9" in log and "failed while stopping" not in log
    assert status(list(start(handle, "flux-shell", "--help"))) == 0


def test_what_a_dead_warm_parent_was_asked_for_is_asked_of_the_next(handle: flux.Flux) -> None:
    list(start(handle, "flux-shell", "--help"))
    warm = handle.rpc("rexec.stats-get").get()["warm"]["flux-shell"]["pid"]
    os.kill(warm, signal.SIGSTOP)
    rpcs = [start(handle, "flux-shell", "--help") for _ in range(3)]
    wait_for(lambda: handle.rpc("rexec.stats-get").get()["processes"] == 3)
    os.kill(warm, signal.SIGKILL)
    assert [status(list(rpc)) for rpc in rpcs] == [0, 0, 0]


def test_one_broker_of_a_host_has_a_warm_parent_before_there_is_a_job() -> None:
    with Instance(2, args=[f"--plugins={COMPOSITION}"]) as instance:
        stats = [instance.handle().rpc("rexec.stats-get", nodeid=rank).get() for rank in range(2)]
    assert [bool(found["warm"]["flux-shell"]["pid"]) for found in stats] == [True, False]


def test_nothing_outlives_the_broker() -> None:
    with Instance(args=[f"--plugins={COMPOSITION}"]) as instance:
        handle = instance.handle()
        pid = background(handle, "sleep", "1000")
        warm = handle.rpc("rexec.stats-get").get()["warm"]["flux-shell"]["pid"]
    assert not runs(pid)
    wait_for(lambda: not runs(warm))


def test_an_environment_larger_than_a_socket_buffer(handle: flux.Flux) -> None:
    env = {"PATH": os.environ["PATH"], **{f"BIG{n}": "x" * 100000 for n in range(20)}}
    rpcs = [start(handle, "flux-shell", "--help", env=env) for _ in range(3)]
    assert [status(list(rpc)) for rpc in rpcs] == [0, 0, 0]


def test_many_at_once(handle: flux.Flux) -> None:
    rpcs = [start(handle, *cmd) for _ in range(20) for cmd in (("echo", "x"), ("flux-shell", "--help"))]
    assert [status(list(rpc)) for rpc in rpcs] == [0] * 40
    wait_for(lambda: handle.rpc("rexec.list").get()["procs"] == [], what="an empty list")
