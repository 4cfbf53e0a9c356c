"""A short run of the fuzzer of the local connector, with a fixed seed: no client makes the broker fail others."""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzz.fuzz_local import MINIMAL, run

from flux.testing import Instance


def test_hostile_clients_disturb_nobody(instance: Callable[..., Instance]) -> None:
    assert run(instance(size=1, args=MINIMAL), 30.0, 400, 3) > 0
