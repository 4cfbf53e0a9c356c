"""Programs whose warm parent has died: how they end is heard from them, or seen."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from flux_plugins.rexec.orphans import Answers, Orphans, pack


class Known:
    """A process as the server knows it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def exited(self, status: int) -> None:
        self.status.set_result(status)


@pytest.fixture
def sleepers() -> Iterator[list[subprocess.Popen[bytes]]]:
    found = [subprocess.Popen(["sleep", "1000"], start_new_session=True) for _ in range(3)]
    yield found
    for process in found:
        process.kill()
        process.wait()


async def left(*known: Known) -> tuple[Orphans, socket.socket]:
    """What a dead parent has left, and the end that it had of its socket."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    running: dict[int, Any] = {process.pid: process for process in known}
    return Orphans(ours, Answers(ours), running), theirs


def test_they_end_with_what_they_say_or_were_killed(sleepers: list[subprocess.Popen[bytes]]) -> None:
    async def scenario() -> None:
        told, silent = (Known(process.pid) for process in sleepers[:2])
        orphans, theirs = await left(told, silent)
        with theirs:
            theirs.sendall(pack({"seq": 1, "pid": told.pid, "status": 768}))
            for process in sleepers[:2]:
                process.kill()
            assert await told.status == 768
            assert await silent.status == signal.SIGKILL
            assert len(orphans) == 0

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_one_that_says_too_late_that_it_is_there_is_killed(sleepers: list[subprocess.Popen[bytes]]) -> None:
    async def scenario() -> None:
        known = Known(sleepers[0].pid)
        orphans, theirs = await left(known)
        with theirs:
            theirs.sendall(pack({"seq": 2, "pid": sleepers[1].pid}))
            await asyncio.to_thread(sleepers[1].wait)
            assert (sleepers[1].returncode, sleepers[0].poll(), len(orphans)) == (-signal.SIGKILL, None, 1)
            orphans.close()

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_one_that_is_over_already_is_told_at_once(sleepers: list[subprocess.Popen[bytes]]) -> None:
    async def scenario() -> None:
        sleepers[0].kill()
        sleepers[0].wait()
        gone = Known(sleepers[0].pid)
        orphans, theirs = await left(gone)
        theirs.close()
        assert (gone.status.result(), len(orphans)) == (signal.SIGKILL, 0)

    asyncio.run(asyncio.wait_for(scenario(), 30))
