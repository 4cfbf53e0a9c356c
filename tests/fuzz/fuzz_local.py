"""Fuzz the local connector of a running broker: `python tests/fuzz/fuzz_local.py [SECONDS] [SEED]`.

Each round connects and sends mutated frames in chunks, among them all kinds of messages that make sense, or nearly. The
broker has to answer a ping of another client after each round, and to log no exception; all else is a finding.
"""

from __future__ import annotations

import errno
import random
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import flux
from flux.errors import FluxError
from flux.frames import encode_frame
from flux.message import EVENT, FLAG_STREAMING, REQUEST, RESPONSE, Message
from flux.rpc import RPC
from flux.testing import Instance

if __package__:
    from tests.fuzz.fuzz_message import mutate
else:
    from fuzz_message import mutate

MINIMAL = (f"--plugins={Path(__file__).parents[1] / 'kernel' / 'kernel.toml'}", "--setattr=log-stderr-level=2")
TOPICS = (
    "attr.get attr.set broker.ping event.subscribe event.unsubscribe event.publish service.add service.remove "
    "log.dmesg log.append log.cancel groups.get groups.join state-machine.get config.get module.list module.status "
    "overlay.health overlay.topology overlay.trace x . .. x.disconnect local.config-reload broker.cancel"
).split()
PAYLOADS: list[object] = [
    None,
    {},
    {"topic": "x"},
    {"topic": 3},
    {"name": "size"},
    {"service": "x"},
    {"service": ""},
    {"matchtag": "x"},
    {"topic": "x", "flags": 0, "payload": "!"},
    b"",
    b"\xff\xfe",
    b"[1]",
    b'{"a":',
]


def message(rng: random.Random) -> bytes:
    """One frame whose fields are legal, or nearly."""
    msg = Message(
        rng.choice([REQUEST, REQUEST, REQUEST, RESPONSE, EVENT]),
        rng.choice(TOPICS),
        rng.choice(PAYLOADS),
        flags=rng.choice([0, 0, 4, 16, 32, 64]),
        aux=rng.choice([0, 0, 1, 0xFFFFFFFF, 0xFFFFFFFE, 77]),
        matchtag=rng.choice([0, 1, 2, 0xFFFFFFFF]),
        routes=rng.choice([[], ["x"], ["a" * 36, "b" * 36]]),
    )
    return encode_frame(msg)


def one_client(path: str, rng: random.Random) -> None:
    """Connect, send nonsense in pieces, read some of what comes, leave."""
    data = b"".join(message(rng) if rng.random() < 0.8 else mutate(rng) for _ in range(rng.randint(1, 20)))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(30)
        sock.connect(path)
        try:
            for start in range(0, len(data), size := rng.choice([7, 1000, 65536])):
                sock.send(data[start : start + size])
                if rng.random() < 0.3:
                    sock.setblocking(False)
                    sock.recv(4096)
                    sock.settimeout(30)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            return  # nothing to read, or the broker has hung up on us


def check(handle: flux.Flux, where: str) -> None:
    """AssertionError when the broker does not answer, or has logged what no client may bring about."""
    try:
        handle.rpc("broker.ping", {}).wait_for(30)
    except FluxError as exc:
        raise AssertionError(f"{where}: {exc}") from None
    lines = [msg.raw for msg in iter_messages(handle.rpc("log.dmesg", {"follow": False}, flags=FLAG_STREAMING))]
    wrong = [line for line in lines if line and (b"xception" in line or b"Traceback" in line)]
    assert not wrong, f"{where}: {lines!r}"
    handle.rpc("log.clear", {"index": -1}).get()


def iter_messages(stream: RPC) -> Iterator[Message]:
    while True:
        try:
            yield stream.message()
        except FluxError as exc:
            if exc.errno != errno.ENODATA:
                raise
            return
        stream.reset()


def run(instance: Instance, seconds: float, rounds: int, seed: int) -> int:
    """Fuzz until the time or the rounds are over; the number of rounds. AssertionError names the seed."""
    rng = random.Random(seed)
    handle = instance.handle()
    deadline = time.monotonic() + seconds
    done = 0
    while done < rounds and time.monotonic() < deadline:
        one_client(instance.uri.removeprefix("local://"), rng)
        done += 1
        if done % 50 == 0:
            check(handle, f"seed {seed} round {done}")
    check(handle, f"seed {seed} at the end")
    return done


def main(argv: list[str]) -> int:
    """Fuzz an instance of the least composition for some seconds; 0 when nothing was found."""
    seconds = float(argv[1]) if len(argv) > 1 else 10.0
    seed = int(argv[2]) if len(argv) > 2 else int(time.time())
    with Instance(size=1, args=MINIMAL) as instance:
        rounds = run(instance, seconds, sys.maxsize, seed)
    print(f"seed {seed}: {rounds} rounds, nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
