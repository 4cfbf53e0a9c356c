"""A short run of the fuzzer, with a fixed seed, so that the entry point stays usable."""

from __future__ import annotations

import random

from tests.fuzz.fuzz_message import fuzz_one, mutate


def test_two_thousand_mutated_frames_raise_nothing_but_protocol_errors() -> None:
    rng = random.Random(3)
    for _ in range(2000):
        fuzz_one(mutate(rng))
