"""flux.pmi: the wire, the server as a state machine, and real processes over socketpairs (RFC 13)."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.errors import FluxError
from flux.pmi.client import PMIClient
from flux.pmi.server import Abort, PMIServer
from flux.pmi.wire import LineBuffer, WireError, format_line, parse_line

word = st.text(st.characters(codec="utf-8", exclude_characters=" \t\n\r"), min_size=1, max_size=12)
string = st.text(st.characters(codec="utf-8", exclude_characters="\n\r"), max_size=20)


# --- wire -------------------------------------------------------------------------------------


@given(word, word, string)
def test_messages_round_trip(kvsname: str, key: str, value: str) -> None:
    line = format_line("put", value=value, kvsname=kvsname, key=key)
    assert line.endswith(f"value={value}\n")
    assert parse_line(line) == {"cmd": "put", "kvsname": kvsname, "key": key, "value": value}
    assert parse_line(line.encode()) == parse_line(line)


@given(
    st.lists(
        st.sampled_from(["put", "kvsname=", "key=k", "value=", "msg=", "a=b", " ", "\t", "=", "\r", "ƒ"]), max_size=9
    )
)
def test_lines_mean_the_same_as_bytes_and_as_text(parts: list[str]) -> None:
    line = " ".join(("cmd=put", *parts))
    fields: list[object] = []
    for form in (line, line.encode()):
        try:
            fields.append(parse_line(form))
        except WireError as e:
            fields.append(str(e))
    assert fields[0] == fields[1]


@given(st.binary(max_size=40))
def test_any_bytes_are_a_message_or_a_wire_error(data: bytes) -> None:
    try:
        fields = parse_line(data)
    except WireError as e:
        assert "PMI message" in str(e)
    else:
        assert "cmd" in fields or "mcmd" in fields


def test_lenient_parsing() -> None:
    assert parse_line("  key=a  cmd=get\tkvsname=b extra=1 \n") == {
        "key": "a",
        "cmd": "get",
        "kvsname": "b",
        "extra": "1",
    }
    assert parse_line("cmd=get_result rc=0 msg=all is well value=a b=c ") == {
        "cmd": "get_result",
        "rc": "0",
        "msg": "all is well",
        "value": "a b=c ",
    }
    assert parse_line(b"cmd=x value=\xff")["value"].encode("utf-8", "surrogateescape") == b"\xff"


def test_what_cannot_be_written_is_refused() -> None:
    for fields in ({"key": "a b"}, {"value": "a\nb"}, {"msg": "a\nb"}):
        with pytest.raises(ValueError, match="must not contain"):
            format_line("put", **fields)


@given(st.lists(st.binary(max_size=10).map(lambda b: b.replace(b"\n", b"")), max_size=5), st.integers(1, 7))
def test_lines_from_any_chunks(lines: list[bytes], step: int) -> None:
    data = b"".join(line + b"\n" for line in lines)
    buffer = LineBuffer()
    got = [line for i in range(0, len(data), step) for line in buffer.feed(data[i : i + step])]
    assert [line.encode("utf-8", "surrogateescape") for line in got] == lines


def test_an_endless_line_is_refused() -> None:
    with pytest.raises(WireError, match="more than 8 bytes"):
        LineBuffer(max_line=8).feed(b"123456789")


# --- server -----------------------------------------------------------------------------------


def ask(server: PMIServer, rank: int, line: str) -> dict[str, str]:
    ((to, reply),) = server.on_line(rank, line)
    assert to == rank
    return parse_line(reply)


def test_a_conversation() -> None:
    server = PMIServer(2, "ƒ1", {"PMI_process_mapping": "(vector,(0,1,2))"}, universe_size=8, appnum=3)
    assert server.on_line(0, "cmd=init pmi_version=1 pmi_subversion=1\n") == [
        (0, "cmd=response_to_init rc=0 pmi_version=1 pmi_subversion=1\n")
    ]
    assert server.on_line(0, "cmd=get_maxes") == [(0, "cmd=maxes rc=0 kvsname_max=64 keylen_max=64 vallen_max=1024\n")]
    assert server.on_line(0, "cmd=get_my_kvsname") == [(0, "cmd=my_kvsname rc=0 kvsname=ƒ1\n")]
    assert server.on_line(0, "cmd=get_universe_size") == [(0, "cmd=universe_size rc=0 size=8\n")]
    assert server.on_line(0, "cmd=get_appnum") == [(0, "cmd=appnum rc=0 appnum=3\n")]
    assert ask(server, 0, "cmd=get kvsname=ƒ1 key=PMI_process_mapping")["value"] == "(vector,(0,1,2))"
    assert server.on_line(0, "cmd=put kvsname=ƒ1 key=k value=v w") == [(0, "cmd=put_result rc=0\n")]
    assert server.on_line(0, "cmd=barrier_in") == []
    assert server.on_line(1, "cmd=barrier_in") == [(0, "cmd=barrier_out rc=0\n"), (1, "cmd=barrier_out rc=0\n")]
    assert ask(server, 1, "cmd=get kvsname=ƒ1 key=k")["value"] == "v w"
    assert server.on_line(1, "cmd=finalize") == [(1, "cmd=finalize_ack rc=0\n")]
    assert server.on_disconnect(1) == [] and server.finalized == {1}


@pytest.mark.parametrize(
    ("line", "response", "msg"),
    [
        ("cmd=put kvsname=x key=k value=v", "put_result", "unknown kvsname 'x'"),
        ("cmd=put kvsname=n key=k", "put_result", "put without 'value'"),
        ("cmd=get kvsname=n key=nosuch", "get_result", "key 'nosuch' not found"),
        ("cmd=get kvsname=n key=" + "k" * 64, "get_result", "key must have 1 to 63 bytes"),
        ("cmd=put kvsname=n key=k value=" + "v" * 1024, "put_result", "longer than 1023 bytes"),
        ("cmd=init pmi_version=0 pmi_subversion=1", "response_to_init", "version 0 is not supported"),
        ("cmd=init pmi_version=one", "response_to_init", "pmi_version=one is not a number"),
        ("cmd=publish_name service=s port=p", "publish_result", "not supported"),
        ("cmd=dance", "error", "unknown command 'dance'"),
        ("hello", "error", "not key=value"),
        ("key=value", "error", "without cmd="),
        ("", "error", "without cmd="),
    ],
)
def test_refusals(line: str, response: str, msg: str) -> None:
    errors: list[tuple[int, str]] = []
    server = PMIServer(1, "n", on_error=lambda rank, text: errors.append((rank, text)))
    answer = ask(server, 0, line)
    assert (answer["cmd"], answer["rc"]) == (response, "-1") and msg.replace(" ", "_") in answer["msg"]
    assert bool(errors) == (response == "error")
    assert ask(server, 0, "cmd=get_appnum")["rc"] == "0", "the connection must go on"


def test_spawn_is_read_to_its_end_and_refused() -> None:
    server = PMIServer(1, "n")
    for line in ("mcmd=spawn", "nprocs=1", "execname=/bin/true", "arg1=cmd=abort", "info_num=0"):
        assert server.on_line(0, line + "\n") == []
    assert ask(server, 0, "endcmd\n") == {"cmd": "spawn_result", "rc": "-1", "msg": "spawn_is_not_supported"}
    assert server.abort is None and ask(server, 0, "cmd=get_appnum")["rc"] == "0"


def test_abort_is_reported() -> None:
    seen: list[Abort] = []
    server = PMIServer(2, "n", on_abort=seen.append)
    assert server.on_line(1, "cmd=abort exitcode=7 msg=out of luck") == [(1, "\n")]
    assert seen == [server.abort] == [Abort(1, 7, "out of luck")]
    server.on_line(0, "cmd=abort")
    assert server.abort == Abort(0, 1, "")
    server.on_line(0, "cmd=abort exit_code=3 error_msg=enough")
    assert server.abort == Abort(0, 3, "enough")


def test_a_lost_process_fails_the_barrier_for_the_others() -> None:
    server = PMIServer(3, "n")
    assert server.on_line(0, "cmd=barrier_in") == []
    assert server.on_disconnect(2) == [(0, "cmd=barrier_out rc=-1 msg=process_2_is_gone\n")]
    assert ask(server, 1, "cmd=barrier_in")["msg"] == "process_2_is_gone"


def test_servers_of_two_nodes_exchange_what_was_put() -> None:
    a, b = PMIServer(3, "n", ranks=[0, 1]), PMIServer(3, "n", ranks=[2])
    a.on_line(1, "cmd=put kvsname=n key=x value=1")
    b.on_line(2, "cmd=put kvsname=n key=y value=2")
    assert b.on_line(2, "cmd=barrier_in") == a.on_line(0, "cmd=barrier_in") == []
    assert a.take_exchange() is None, "one local process is missing"
    a.on_line(1, "cmd=barrier_in")
    from_a, from_b = a.take_exchange(), b.take_exchange()
    assert (from_a, from_b) == ({"x": "1"}, {"y": "2"}) and a.take_exchange() is None
    assert [rank for rank, _ in a.complete_exchange({"x": "1", "y": "2"})] == [0, 1]
    assert b.complete_exchange({}, error="node a is down") == [(2, "cmd=barrier_out rc=-1 msg=node_a_is_down\n")]
    assert ask(a, 0, "cmd=get kvsname=n key=y")["value"] == "2"
    assert ask(a, 2, "cmd=get_appnum") == {"cmd": "appnum", "rc": "-1", "msg": "rank_2_is_not_served_here"}


lines = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        ["cmd=barrier_in", "cmd=finalize", "cmd=abort", "mcmd=spawn", "endcmd", "cmd=init pmi_version=1", "cmd="]
    ),
    st.builds("cmd=put kvsname=n key={} value={}".format, word, string),
    st.builds("cmd={} {}={}".format, word, word, string),
)


@given(st.lists(st.tuples(st.integers(-1, 3), st.none() | lines), max_size=40))
def test_no_input_makes_the_server_raise(steps: list[tuple[int, str | bytes | None]]) -> None:
    server = PMIServer(3, "n")
    waiting: set[int] = set()
    for rank, line in steps:
        replies = server.on_disconnect(rank) if line is None else server.on_line(rank, line)
        for to, reply in replies:
            assert reply.endswith("\n") and reply.count("\n") == 1
            assert to == rank or to in waiting, "only a barrier answers others"
            if reply.startswith("cmd=barrier_out") and "while in a barrier" not in reply:
                waiting.discard(to)
        if line in ("cmd=barrier_in", b"cmd=barrier_in") and rank in range(3) and not replies:
            waiting.add(rank)


# --- real processes ---------------------------------------------------------------------------


class Manager:
    """A process manager: a PMIServer behind one socketpair per process, in a thread."""

    def __init__(self, server: PMIServer) -> None:
        self.server = server
        pairs = [socket.socketpair() for _ in range(server.size)]
        self.ours = [ours for ours, _ in pairs]
        self.theirs = [theirs for _, theirs in pairs]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        buffers = [LineBuffer() for _ in self.ours]
        with selectors.DefaultSelector() as selector:
            for rank, sock in enumerate(self.ours):
                selector.register(sock, selectors.EVENT_READ, rank)
            while selector.get_map():
                for key, _ in selector.select():
                    self._serve_one(selector, key.data, buffers[key.data])

    def _serve_one(self, selector: selectors.BaseSelector, rank: int, buffer: LineBuffer) -> None:
        try:
            data = self.ours[rank].recv(7)  # small, so that lines come in pieces
        except ConnectionResetError:
            data = b""
        if not data:
            selector.unregister(self.ours[rank])
            self._send(self.server.on_disconnect(rank))
        for line in buffer.feed(data):
            self._send(self.server.on_line(rank, line))

    def _send(self, replies: list[tuple[int, str]]) -> None:
        for rank, reply in replies:
            self.ours[rank].sendall(reply.encode("utf-8", "surrogateescape"))

    def client(self, rank: int) -> PMIClient:
        environ = {"PMI_FD": str(self.theirs[rank].fileno()), "PMI_RANK": str(rank), "PMI_SIZE": str(self.server.size)}
        return PMIClient.from_env(environ)

    def close(self) -> None:
        for sock in self.theirs:
            sock.close()
        self._thread.join()
        for sock in self.ours:
            sock.close()


def run_threads(size: int, body: Callable[[int], None]) -> None:
    failures: list[BaseException] = []

    def guarded(rank: int) -> None:
        try:
            body(rank)
        except BaseException as e:
            failures.append(e)

    threads = [threading.Thread(target=guarded, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_eight_clients_exchange_their_cards_twice() -> None:
    size = 8
    manager = Manager(PMIServer(size, "ƒjob"))

    def body(rank: int) -> None:
        client = manager.client(rank)
        assert client.init() == (1, 1) and client.get_maxes() == (64, 64, 1024)
        assert client.get_my_kvsname() == "ƒjob" and client.get_universe_size() == size
        assert client.get_appnum() == 0
        for turn in range(2):
            client.put(f"{turn}.{rank}", f"card of {rank} = {turn}")
            client.barrier()
            assert [client.get(f"{turn}.{r}") for r in range(size)] == [f"card of {r} = {turn}" for r in range(size)]
            client.barrier()
        with pytest.raises(FluxError, match="key_'nosuch'_not_found") as e:
            client.get("nosuch")
        assert e.value.errno == errno.ENOENT
        client.finalize()

    try:
        run_threads(size, body)
        assert manager.server.finalized == set(range(size))
    finally:
        manager.close()


def test_a_lost_peer_is_an_error_in_the_barrier() -> None:
    manager = Manager(PMIServer(3, "n"))

    def body(rank: int) -> None:
        client = manager.client(rank)
        client.init()
        if rank == 2:
            manager.theirs[2].close()
            return
        with pytest.raises(FluxError, match="barrier_in failed with rc=-1: process_2_is_gone") as e:
            client.barrier()
        assert e.value.errno == errno.EIO

    try:
        run_threads(3, body)
    finally:
        manager.close()


PROGRAM = """
import os
from flux.pmi.client import PMIClient
pmi = PMIClient.from_env()
pmi.init()
pmi.put(str(pmi.rank), str(os.getpid()))
pmi.barrier()
pids = {pmi.get(str(r)) for r in range(pmi.size)}
assert len(pids) == pmi.size and str(os.getpid()) in pids
if pmi.rank == 1:
    pmi.abort(9, "cannot go on\\n(really)")
pmi.finalize()
"""


def test_processes_meet_and_one_aborts() -> None:
    manager = Manager(PMIServer(3, "n"))
    processes = []
    for rank, sock in enumerate(manager.theirs):
        env = os.environ | {"PMI_FD": str(sock.fileno()), "PMI_RANK": str(rank), "PMI_SIZE": "3"}
        command = [sys.executable, "-c", PROGRAM]
        processes.append(
            subprocess.Popen(command, env=env, pass_fds=[sock.fileno()], stderr=subprocess.PIPE, text=True)
        )
    stderr = [process.communicate()[1] for process in processes]
    manager.close()
    assert [process.returncode for process in processes] == [0, 9, 0], stderr
    assert stderr[1] == "cannot go on\n(really)\n"
    assert manager.server.abort == Abort(1, 9, "cannot go on (really)")


# --- client and a bad server ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "number", "text"),
    [
        (b"", errno.ECONNRESET, "closed the connection before it answered"),
        (b"cmd=response_to_init rc=0", errno.ECONNRESET, "closed the connection"),
        (b"nonsense\n", errno.EPROTO, "not key=value"),
        (b"cmd=put_result rc=0\n", errno.EPROTO, "expected cmd=response_to_init, got cmd=put_result"),
        (b"cmd=response_to_init rc=-1\n", errno.EIO, "rc=-1: no reason given"),
        (b"cmd=response_to_init rc=x\n", errno.EPROTO, "rc=x, expected a number"),
        (b"cmd=response_to_init\n", errno.EPROTO, "without pmi_version="),
        (b"cmd=response_to_init pmi_version=2 pmi_subversion=0\n", errno.EPROTO, "speaks version 2.0"),
        (b"cmd=a\ncmd=b\n", errno.EPROTO, "2 answers to one request"),
        (b"x" * 70000, errno.EPROTO, "more than 65536 bytes"),
    ],
)
def test_a_bad_server_is_a_clear_error(answer: bytes, number: int, text: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(answer)
        ours.shutdown(socket.SHUT_WR)
        with pytest.raises(FluxError, match=text) as e:
            PMIClient(theirs.fileno(), 0, 1).init()
        assert e.value.errno == number


def test_a_server_that_is_gone_is_a_clear_error() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs, pytest.raises(FluxError, match="PMI server is gone: Broken pipe") as e:
        PMIClient(theirs.fileno(), 0, 1).init()
    assert e.value.errno == errno.EPIPE


@pytest.mark.parametrize(
    ("environ", "number", "text"),
    [
        ({}, errno.ENOENT, "PMI_FD is not set: not started by"),
        ({"PMI_FD": "x", "PMI_RANK": "0", "PMI_SIZE": "1"}, errno.EINVAL, "PMI_FD=x is not a number"),
        ({"PMI_FD": "3", "PMI_RANK": "1", "PMI_SIZE": "1"}, errno.EINVAL, "PMI_RANK=1 is not below PMI_SIZE=1"),
    ],
)
def test_a_bad_environment_is_named(environ: dict[str, str], number: int, text: str) -> None:
    with pytest.raises(FluxError, match=text) as e:
        PMIClient.from_env(environ)
    assert e.value.errno == number
