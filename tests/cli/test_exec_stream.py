"""A large stream through `flux exec` on another rank does not pile up in any broker, nor in the command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from flux.testing import Instance

MIB = 1 << 20
SIZE = 64 * MIB
LINE = b"all work and no play makes jack a dull boy, said 1 in 9.\n"


def private(pid: int) -> int:
    """Private memory of a process in bytes; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(("Private_Clean", "Private_Dirty")))


def test_memory_stays_flat(instance: Callable[..., Instance]) -> None:
    running = instance(size=2)
    handle = running.handle()
    get = [handle.rpc("attr.get", {"name": "broker.pid"}, nodeid=rank) for rank in range(2)]
    brokers = [int(answer.get()["value"]) for answer in get]
    before = [private(pid) for pid in brokers]
    source = subprocess.Popen(["sh", "-c", f"yes '{LINE.decode().strip()}' | head -c {SIZE}"], stdout=subprocess.PIPE)
    program = str(Path(sys.executable).with_name("flux"))
    command = subprocess.Popen(
        [program, "exec", "-r1", "cat"], env=running.env, stdin=source.stdout, stdout=subprocess.PIPE
    )
    assert source.stdout is not None and command.stdout is not None
    source.stdout.close()
    received, grown, client = 0, 0, 0
    while data := command.stdout.read(MIB):
        received += len(data)
        grown = max(grown, *(private(pid) - start for pid, start in zip(brokers, before, strict=True)))
        client = max(client, private(command.pid))
    command.stdout.close()
    assert (command.wait(), source.wait(), received) == (0, 0, SIZE)
    assert grown < 40 * MIB, f"a broker has grown by {grown >> 20} MiB"
    assert client < 40 * MIB, f"flux exec has {client >> 20} MiB"
