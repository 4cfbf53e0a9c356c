"""How brokers learn their rank and exchange business cards."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from flux.errors import FluxError
from flux.pmi.server import PMIServer
from flux_plugins.bootstrap.pmi import PMIBootstrap
from flux_plugins.bootstrap.single import SingleBootstrap


class Launcher:
    """A PMI server for brokers that run in threads of the test."""

    def __init__(self, size: int, preput: Mapping[str, str] | None = None, kvsname: str = "ƒ12", **limits: Any) -> None:
        self.server = PMIServer(size, kvsname, preput or {}, **limits)
        self._lock = threading.Lock()
        self._ours: list[socket.socket] = []
        self.environs: list[dict[str, str]] = []
        self._threads: list[threading.Thread] = []
        for rank in range(size):
            ours, theirs = socket.socketpair()
            self._ours.append(ours)
            fd = theirs.detach()
            self.environs.append({"PMI_FD": str(fd), "PMI_RANK": str(rank), "PMI_SIZE": str(size)})
            self._threads.append(threading.Thread(target=self._serve, args=(rank,), daemon=True))
            self._threads[-1].start()

    def _serve(self, rank: int) -> None:
        # a broker that has aborted may leave an answer unread, which resets the connection
        with contextlib.suppress(ConnectionResetError), self._ours[rank].makefile("r", newline="\n") as lines:
            for line in lines:
                with self._lock:
                    for to, reply in self.server.on_line(rank, line.rstrip("\n")):
                        # a broker that has aborted does not wait for its answer
                        with contextlib.suppress(BrokenPipeError):
                            self._ours[to].sendall(reply.encode())

    def join(self) -> None:
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        for sock in self._ours:
            sock.close()


def card(rank: int) -> dict[str, Any]:
    return {"host": f"h{rank}", "pubkey": "k" * 40, "uri": [f"ipc:///tmp/with space/tbon-{rank}"]}


def test_brokers_exchange_cards() -> None:
    launcher = Launcher(3)
    seen: dict[int, list[str]] = {}

    def broker(rank: int) -> None:
        boot = PMIBootstrap(launcher.environs[rank], {})
        info = boot.open()
        assert (info.rank, info.size) == (rank, 3)
        boot.publish(card(rank))
        boot.barrier()
        seen[rank] = [boot.lookup(other)["uri"][0] for other in range(3)]
        boot.finalize()

    threads = [threading.Thread(target=broker, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    launcher.join()
    assert seen == {rank: [card(other)["uri"][0] for other in range(3)] for rank in range(3)}


@pytest.mark.parametrize(
    ("preput", "expected"),
    [
        ({}, {"instance-level": "0"}),
        (
            {"PMI_process_mapping": "(vector,(0,1,1))"},
            {"instance-level": "0", "broker.mapping": "[[0,1,1,1]]"},
        ),
        ({"PMI_process_mapping": "(vector,(0,2,4))"}, {"instance-level": "0"}),
        (
            {"flux.instance-level": "1", "flux.taskmap": "[[0,1,1,1]]", "flux.tbon-interface-hint": "eth1"},
            {
                "instance-level": "1",
                "jobid": "ƒ12",
                "broker.mapping": "[[0,1,1,1]]",
                "tbon.interface-hint": "eth1",
            },
        ),
    ],
)
def test_what_the_launcher_tells_becomes_attributes(preput: dict[str, str], expected: dict[str, str]) -> None:
    launcher = Launcher(1, preput)
    boot = PMIBootstrap(launcher.environs[0], {})
    assert boot.open().attrs == expected
    boot.finalize()
    launcher.join()


def test_a_broken_mapping_is_named() -> None:
    launcher = Launcher(1, {"PMI_process_mapping": "(vector,(0,1"})
    boot = PMIBootstrap(launcher.environs[0], {})
    with pytest.raises(FluxError, match="process mapping"):
        boot.open()
    boot.finalize()
    launcher.join()


def test_a_card_that_is_too_long_is_refused_with_its_size() -> None:
    launcher = Launcher(1, vallen_max=100)
    boot = PMIBootstrap(launcher.environs[0], {})
    boot.open()
    with pytest.raises(FluxError, match=r"business card of \d+ bytes"):
        boot.publish(card(0))
    boot.finalize()
    launcher.join()


def test_a_missing_card_is_enoent() -> None:
    launcher = Launcher(1)
    boot = PMIBootstrap(launcher.environs[0], {})
    boot.open()
    boot.barrier()
    with pytest.raises(FileNotFoundError):
        boot.lookup(7)
    boot.finalize()
    launcher.join()


def test_abort_reaches_the_launcher_with_its_reason() -> None:
    launcher = Launcher(1)
    boot = PMIBootstrap(launcher.environs[0], {})
    boot.open()
    boot.abort("no such\ntopology")
    launcher.join()
    assert launcher.server.abort is not None
    assert (launcher.server.abort.exitcode, launcher.server.abort.message) == (1, "no such topology")


def test_after_finalize_the_descriptor_is_closed() -> None:
    launcher = Launcher(1)
    boot = PMIBootstrap(launcher.environs[0], {})
    boot.open()
    boot.finalize()
    boot.abort("too late to matter")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(int(launcher.environs[0]["PMI_FD"]))
    with pytest.raises(FluxError, match="finalize"):
        boot.barrier()
    launcher.join()


def test_a_launcher_that_is_gone_is_an_error() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    boot = PMIBootstrap({"PMI_FD": str(theirs.detach()), "PMI_RANK": "0", "PMI_SIZE": "2"}, {})
    with pytest.raises(FluxError, match="PMI"):
        boot.open()
    boot.abort("nobody hears this")


def test_which_method_applies() -> None:
    assert not PMIBootstrap.available({}, {})
    assert PMIBootstrap.available({"PMI_FD": "3"}, {})
    assert SingleBootstrap.available({}, {})


def test_single_is_rank_0_of_1() -> None:
    boot = SingleBootstrap({}, {})
    info = boot.open()
    assert (info.rank, info.size) == (0, 1)
    boot.publish({})
    boot.barrier()
    with pytest.raises(FileNotFoundError):
        boot.lookup(1)
    boot.finalize()
