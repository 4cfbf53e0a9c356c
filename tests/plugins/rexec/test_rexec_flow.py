"""`rexec` where it holds back and lets go: bounded memory, attach and detach, stopped processes (RFC 42)."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flux
from flux.constants import FLUX_RPC_STREAMING
from flux.errors import FluxError
from flux.rexec import WAITABLE, RemoteProcess, attach_request, exec_request
from flux.stdio import decode_io
from flux.testing import Instance, runs, wait_for

COMPOSITION = Path(__file__).with_name("rexec.toml")
STDOUT, STDERR = 1, 2
MIB = 1 << 20
SIZE = 64 * MIB
BOUND = 24 * MIB
"""What a broker may grow by while SIZE bytes pass through it: the buffers of each hop."""


@pytest.fixture(scope="module")
def rexec() -> Iterator[Instance]:
    with Instance(2, args=[f"--plugins={COMPOSITION}"]) as instance:
        yield instance


def resident(pids: list[int]) -> list[int]:
    """Private resident bytes of processes."""
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return [int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")]


def brokers(instance: Instance) -> list[int]:
    return [instance.broker_pid(rank) for rank in range(instance.size)]


class Client:
    """Counts what a remote process writes; `stdin` bytes of input are sent as credit comes."""

    def __init__(self, handle: flux.Flux, cmdline: list[str], rank: int, stdin: int = 0) -> None:
        self.received = 0
        self.to_send = stdin
        self.handle = handle
        request = exec_request(cmdline, opts={"stdout_LINE_BUFFER": "false"})
        self.process = RemoteProcess(
            handle, request, rank, on_output=self._output, on_end=self._end, on_credit=self._credit
        )

    def _output(self, _process: Any, _stream: str, data: bytes, _eof: bool) -> None:
        self.received += len(data)

    def _credit(self, process: RemoteProcess) -> None:
        while self.to_send and process.credit >= 65536:
            self.to_send -= 65536
            process.write(b"x" * 65536, eof=not self.to_send)

    def _end(self, _process: Any) -> None:
        self.handle.reactor_stop()


@pytest.mark.parametrize("rank", [0, 1])
def test_output_that_nobody_takes_makes_the_process_wait(rexec: Instance, handle: flux.Flux, rank: int) -> None:
    pids = brokers(rexec)
    before = resident(pids)
    client = Client(handle, ["head", "-c", str(SIZE), "/dev/zero"], rank)
    while not client.received:
        handle.get_reactor().run_once()
    pid = client.process.pid

    def written() -> int:
        fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
        return int(fields["wchar"])

    last = -1
    while (now := written()) != last:  # until it waits; with nobody reading it would go on to SIZE
        last = now
        wait_for(lambda: _sleeps(pid), what="a process that waits")
    assert last < SIZE // 2
    handle.reactor_run()
    assert (client.received, client.process.exitcode) == (SIZE, 0)
    assert max(now - was for now, was in zip(resident(pids), before, strict=True)) < BOUND


def _sleeps(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def test_input_is_sent_no_faster_than_it_is_read(rexec: Instance, handle: flux.Flux) -> None:
    pids = brokers(rexec)
    before = resident(pids)
    client = Client(handle, ["wc", "-c"], 1, stdin=SIZE)
    handle.reactor_run()
    assert client.process.exitcode == 0
    assert client.to_send == 0
    assert max(now - was for now, was in zip(resident(pids), before, strict=True)) < BOUND


def test_a_client_that_is_throttled_and_leaves_takes_its_process_along(rexec: Instance) -> None:
    with flux.Flux(rexec.uri) as leaver:
        client = Client(leaver, ["cat", "/dev/zero"], 1)
        while not client.received:
            leaver.get_reactor().run_once()
    wait_for(lambda: not runs(client.process.pid), what="the end of the process")
    with flux.Flux(rexec.uri) as handle:
        wait_for(lambda: handle.rpc("rexec.list", {}, nodeid=1).get()["procs"] == [], what="an empty list")


# -- attach


def background(handle: flux.Flux, script: str, flags: int = WAITABLE) -> int:
    request = exec_request(["sh", "-c", script], flags=flags)
    return int(handle.rpc("rexec.exec", request).get()["pid"])


def attach(handle: flux.Flux, pid: int, flags: int = STDOUT | STDERR) -> Any:
    return handle.rpc("rexec.attach", attach_request(pid, flags=flags), flags=FLUX_RPC_STREAMING)


def read(rpc: Any, count: int) -> list[dict[str, Any]]:
    found = []
    for _ in range(count):
        found.append(rpc.get())
        rpc.reset()
    return found


def text_of(responses: list[dict[str, Any]], stream: str = "stdout") -> bytes:
    chunks = [decode_io(r["io"]) for r in responses if r["type"] == "output"]
    return b"".join(chunk.data for chunk in chunks if chunk.stream == stream)


def test_attach_shows_what_was_kept_what_follows_and_each_end_once(handle: flux.Flux, tmp_path: Path) -> None:
    fifo = tmp_path / "go"
    os.mkfifo(fifo)
    pid = background(handle, f"echo early; exec 2>&-; read x < {fifo}; echo late; exit 3")
    rpc = attach(handle, pid)
    first = read(rpc, 1)[0]
    assert (first["type"], first["pid"], first["cmd"]["cmdline"][0]) == ("attached", pid, "sh")
    fifo.write_text("\n")
    responses = list(rpc)
    assert text_of(responses) == b"early\nlate\n"
    assert sorted(r["io"]["stream"] for r in responses if r.get("io", {}).get("eof")) == ["stderr", "stdout"]
    assert [os.waitstatus_to_exitcode(r["status"]) for r in responses if r["type"] == "finished"] == [3]
    with pytest.raises(FluxError) as caught:
        handle.rpc("rexec.wait", {"pid": pid}).get()
    assert caught.value.errno == errno.ESRCH


def test_attach_to_a_zombie_reaps_it(handle: flux.Flux) -> None:
    pid = background(handle, "echo gone; exit 4")
    wait_for(lambda: any(p["pid"] == pid and p["state"] == "Z" for p in handle.rpc("rexec.list").get()["procs"]))
    responses = list(attach(handle, pid, STDOUT))
    assert (text_of(responses), text_of(responses, "stderr")) == (b"gone\n", b"")
    assert [r["io"]["stream"] for r in responses if r.get("io", {}).get("eof")] == ["stdout"]
    assert pid not in [p["pid"] for p in handle.rpc("rexec.list").get()["procs"]]


def test_detached_process_goes_on_and_can_be_attached_to_again(rexec: Instance, handle: flux.Flux) -> None:
    pid = background(handle, "sleep 1000")
    with flux.Flux(rexec.uri) as client:
        read(attach(client, pid), 1)
        for topic, payload in (("attach", {"pid": pid, "flags": 3}), ("wait", {"pid": pid})):
            flags = FLUX_RPC_STREAMING if topic == "attach" else 0
            with pytest.raises(FluxError) as caught:
                handle.rpc(f"rexec.{topic}", payload, flags=flags).get()
            assert caught.value.errno == errno.EBUSY
    rpc = None
    while rpc is None:  # the disconnect is on its way
        rpc = attach(handle, pid)
        try:
            read(rpc, 1)
        except FluxError as exc:
            assert exc.errno == errno.EBUSY
            rpc = None
    handle.rpc("rexec.kill", {"pid": pid, "signum": signal.SIGKILL}).get()
    assert [r["status"] for r in rpc if r["type"] == "finished"] == [signal.SIGKILL]


def test_attach_to_nobody_and_to_what_has_a_client(handle: flux.Flux) -> None:
    with pytest.raises(FluxError, match="pid 1 does not belong") as caught:
        attach(handle, 1).get()
    assert caught.value.errno == errno.ENOENT
    rpc = handle.rpc("rexec.exec", exec_request(["sleep", "1000"]), flags=FLUX_RPC_STREAMING)
    with pytest.raises(FluxError, match="has a client already") as caught:
        attach(handle, rpc.get()["pid"]).get()
    assert caught.value.errno == errno.EBUSY


def test_a_stopped_process_is_told_of(handle: flux.Flux) -> None:
    rpc = handle.rpc("rexec.exec", exec_request(["sleep", "1000"], flags=STDOUT), flags=FLUX_RPC_STREAMING)
    pid = read(rpc, 1)[0]["pid"]
    handle.rpc("rexec.kill", {"pid": pid, "signum": signal.SIGSTOP}).get()
    assert read(rpc, 1)[0]["type"] == "stopped"
    for signum in (signal.SIGCONT, signal.SIGTERM):
        handle.rpc("rexec.kill", {"pid": pid, "signum": signum}).get()
    assert [r["status"] for r in rpc if r["type"] == "finished"] == [signal.SIGTERM]


@pytest.mark.parametrize("cwd", ["/no/such", "/etc/passwd"])
def test_without_its_directory_a_process_runs_in_tmp_and_is_told(cwd: str, handle: flux.Flux) -> None:
    request = exec_request(["pwd"], cwd=cwd)
    responses = list(handle.rpc("rexec.exec", request, flags=FLUX_RPC_STREAMING))
    said = {r["io"]["stream"]: r["io"]["data"] for r in responses if r["type"] == "output" and "data" in r["io"]}
    assert said["stdout"] == "/tmp\n"
    assert said["stderr"].startswith(f"cannot change to directory {cwd}: ")
