"""Commands that wait for something end, and say why, when their broker is gone."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from flux.testing import Instance, wait_for

COMMANDS = (
    "event sub",
    "dmesg -f",
    "exec -r0 sleep 1000",
    "job attach JOB",
    "job wait-event JOB clean",
    "ping broker",
    "module trace kvs",
    "overlay trace",
)


@pytest.fixture
def running() -> Iterator[Instance]:
    started = Instance(size=1).start()
    yield started
    if started.process.poll() is None:
        started.kill()


def test_commands_end_with_their_broker(running: Instance) -> None:
    flux = running.command[0]
    job = running.run("flux", "submit", "sleep", "1000").stdout.strip()
    handle = running.handle()
    before = handle.rpc("local.stats-get").get()["clients"]
    waiting = {
        words: subprocess.Popen(
            [flux, *words.replace("JOB", job).split()],
            env=running.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for words in COMMANDS
    }
    try:
        enough = before + len(COMMANDS)
        wait_for(lambda: handle.rpc("local.stats-get").get()["clients"] >= enough, 60, "all commands are connected")
        running.kill()
        for words, process in waiting.items():
            _, said = process.communicate(timeout=60)
            assert (process.returncode, said.count("\n")) == (1, 1), f"{words}: {said}"
            assert said.startswith(f"flux-{words.split()[0]}: "), f"{words}: {said}"
    finally:
        for process in waiting.values():
            process.kill()
            process.communicate(timeout=30)
