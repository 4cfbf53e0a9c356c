"""Fixtures of the tests of `rexec`: an instance with little but that service, and a handle on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import flux
from flux.testing import Instance

COMPOSITION = Path(__file__).with_name("rexec.toml")


@pytest.fixture(scope="module")
def rexec() -> Iterator[Instance]:
    with Instance(args=[f"--plugins={COMPOSITION}"]) as instance:
        yield instance


@pytest.fixture
def handle(rexec: Instance) -> Iterator[flux.Flux]:
    with flux.Flux(rexec.uri) as handle:
        yield handle
