"""Fuzz the message decoder: `python tests/fuzz/fuzz_message.py [SECONDS] [SEED]`.

Each round feeds mutated frames in random chunks. Anything but messages or a ProtocolError is a finding:
the input is printed as hex and the exit status is 1. `fuzz_one` is the entry point for coverage-guided fuzzers.
"""

from __future__ import annotations

import random
import sys
import time

from flux.errors import ProtocolError
from flux.frames import FrameDecoder, encode_frame
from flux.message import EVENT, REQUEST, RESPONSE, Message

SEEDS = [
    Message(REQUEST, "attr.get", {"name": "size"}, aux=0xFFFFFFFF, matchtag=1, routes=[]),
    Message(RESPONSE, "kvs.lookup", {"val": {"ver": 1, "type": "val", "data": "eA=="}}, matchtag=9, routes=["a" * 36]),
    Message(REQUEST, "content.store", bytes(range(256)) * 2, aux=0, matchtag=2, routes=["b" * 36, "c" * 36]),
    Message(EVENT, "heartbeat.pulse", aux=77),
]


def fuzz_one(data: bytes) -> None:
    """Decode data and every payload in it; only ProtocolError may come out."""
    decoder = FrameDecoder(1 << 20)
    try:
        for msg in decoder.feed(data):
            _ = msg.payload
    except ProtocolError:
        return


def mutate(rng: random.Random) -> bytes:
    """Some seed frames with bytes changed, dropped, doubled or cut."""
    data = bytearray(b"".join(encode_frame(rng.choice(SEEDS)) for _ in range(rng.randint(1, 3))))
    for _ in range(rng.randint(0, 8)):
        if not data:
            break
        pos = rng.randrange(len(data))
        match rng.randrange(4):
            case 0:
                data[pos] = rng.randrange(256)
            case 1:
                del data[pos : pos + rng.randint(1, 9)]
            case 2:
                data[pos:pos] = data[pos : pos + rng.randint(1, 40)]
            case _:
                data[pos : pos + 4] = rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"])
    return bytes(data)


def main(argv: list[str]) -> int:
    """Fuzz for some seconds; 0 when nothing was found."""
    seconds = float(argv[1]) if len(argv) > 1 else 10.0
    seed = int(argv[2]) if len(argv) > 2 else int(time.time())
    rng = random.Random(seed)
    deadline = time.monotonic() + seconds
    rounds = 0
    while time.monotonic() < deadline:
        data = mutate(rng)
        try:
            fuzz_one(data)
        except Exception as exc:
            print(f"seed {seed} round {rounds}: {type(exc).__name__}: {exc}\n{data.hex()}")
            return 1
        rounds += 1
    print(f"seed {seed}: {rounds} rounds, nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
