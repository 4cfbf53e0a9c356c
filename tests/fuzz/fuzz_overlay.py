"""Fuzz a broker's overlay port: `python tests/fuzz/fuzz_overlay.py [SECONDS] [SEED]`.

Some peers send bytes that are no ZeroMQ. Others have keys that are allowed, and send frames that are no messages,
greetings with wrong fields, and messages that children do not send. An exception of another kind than those for bad
messages is a finding, and so is it when a good child cannot join afterwards.
"""

from __future__ import annotations

import asyncio
import random
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import zmq

from flux.errors import ProtocolError
from flux.message import CONTROL, EVENT, REQUEST, RESPONSE, ROLE_OWNER, Message, encode_parts
from flux_plugins.zeromq.curve import dealer

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "plugins" / "overlay"))

from overlay_pair import LIMIT, VERSION, Leaf, Root  # noqa: E402 - a module of the tests beside this folder

FIELDS: dict[str, list[object]] = {
    "rank": [1, 1, 1, 0, -1, 2, 10**12, "1", None, 1.5],
    "version": [VERSION, VERSION, 0, -1, 1 << 80, "0.88.0", None],
    "uuid": ["u", "", "u" * 5000, 7, None],
    "status": [1, 0, 99, -1, "full", None],
    "hostname": ["host1", "", "elsewhere", 3],
    "sequence": [-1, 0, 10**15, "x", None],
}


class Broker(Root):
    """A parent that keeps the exceptions which no peer may bring about."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(endpoint)
        self.findings: list[Exception] = []

    def report(self, text: str, error: Exception | None = None) -> None:
        if error is not None and not isinstance(error, OSError):
            self.findings.append(error)

    def fail(self, exc: Exception) -> None:
        self.findings.append(exc)


def greeting(rng: random.Random) -> dict[str, object]:
    fields = {name: rng.choice(values) for name, values in FIELDS.items()}
    return {name: value for name, value in fields.items() if rng.random() < 0.95}


def frames(rng: random.Random) -> list[bytes]:
    """What a peer sends at once."""
    match rng.randrange(5):
        case 0:
            return [rng.randbytes(rng.choice([0, 1, 20, 300])) for _ in range(rng.randint(1, 6))]
        case 1:
            parts = encode_parts(Message(REQUEST, "overlay.hello", greeting(rng), rolemask=ROLE_OWNER, routes=[]))
            del parts[rng.randrange(len(parts))]
            return parts or [b""]
        case 2:
            kind = rng.choice([REQUEST, RESPONSE, EVENT, CONTROL])
            topic = "" if kind == CONTROL else rng.choice(["overlay.goodbye", "x.y", "overlay.hello"])
            aux, tag = rng.choice([0, 1, 2, 77, 0xFFFFFFFF]), rng.choice([0, 1, 99, 0xFFFFFFFF])
            return encode_parts(Message(kind, topic, aux=aux, matchtag=tag, routes=rng.choice([[], ["a", "b"]])))
        case _:
            return encode_parts(
                Message(REQUEST, "overlay.hello", greeting(rng), rolemask=rng.choice([ROLE_OWNER, 0, 2]), routes=[])
            )


def raw_peer(path: str, rng: random.Random) -> None:
    """Bytes that are no ZMTP, or only begin like it."""
    start = rng.choice([b"", b"\xff\0\0\0\0\0\0\0\x01\x7f", b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01CURVE" + b"\0" * 48])
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(30)
        sock.connect(path)
        sock.send(start + rng.randbytes(rng.choice([1, 64, 4000])))


async def known_peer(broker: Broker, rng: random.Random) -> None:
    """A peer with a key that is allowed for rank 1."""
    keys = zmq.curve_keypair()
    broker.zap.allow(keys[0].decode(), 1)
    context: zmq.Context[Any] = zmq.Context()
    sock = dealer(context, rng.choice(["u", "other", "x" * 200]), keys, broker.public.decode())
    sock.connect(broker.endpoint)
    for _ in range(rng.randint(1, 30)):
        sock.send_multipart(frames(rng))
    sock.send_multipart(encode_parts(Message(REQUEST, "overlay.hello", {}, rolemask=ROLE_OWNER, routes=[])))
    await asyncio.get_running_loop().run_in_executor(None, sock.poll, 200)  # until something is answered
    context.destroy(linger=0)


async def run(folder: str, seconds: float, rounds: int, seed: int) -> int:
    """Fuzz until the time or the rounds are over; the number of rounds. AssertionError names the seed."""
    rng = random.Random(seed)
    path = f"{folder}/tbon"
    broker = Broker(f"ipc://{path}")
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, context: broker.findings.append(context.get("exception") or ProtocolError(context["message"]))
    )
    broker.down.open()
    deadline = time.monotonic() + seconds
    done = 0
    try:
        while done < rounds and time.monotonic() < deadline:
            if rng.random() < 0.5:
                raw_peer(path, rng)
            else:
                await known_peer(broker, rng)
            done += 1
            assert not broker.findings, f"seed {seed} round {done}: {broker.findings[0]!r}"
        await _good_child_joins(broker)
    finally:
        broker.close()
    return done


async def _good_child_joins(broker: Broker) -> None:
    leaf = Leaf(broker)
    try:
        broker.zap.allow(leaf.keys[0].decode(), 1)
        await asyncio.wait_for(leaf.join(), LIMIT)
    finally:
        leaf.close()
    assert not broker.findings, repr(broker.findings[0])


def main(argv: list[str]) -> int:
    """Fuzz for some seconds; 0 when nothing was found."""
    seconds = float(argv[1]) if len(argv) > 1 else 10.0
    seed = int(argv[2]) if len(argv) > 2 else int(time.time())
    with tempfile.TemporaryDirectory() as folder:
        rounds = asyncio.run(run(folder, seconds, sys.maxsize, seed))
    print(f"seed {seed}: {rounds} rounds, nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
