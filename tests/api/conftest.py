"""Fixtures of the tests of the API: `running`, an instance of one broker, and `handle`, a connection to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flux.testing import Instance


@pytest.fixture
def running(instance: Callable[..., Instance]) -> Instance:
    """A file of tests that needs another one has its own `running`."""
    return instance(size=1)


@pytest.fixture
def handle(running: Instance) -> Any:
    return running.handle()


@pytest.fixture
def kernel_only() -> list[str]:
    """Options of a broker without the services of jobs and of the KVS."""
    return [f"--plugins={Path(__file__).parent.parent / 'kernel' / 'kernel.toml'}"]


@pytest.fixture
def minimal(instance: Callable[..., Instance], kernel_only: list[str]) -> Instance:
    """An instance of one such broker, for `running`."""
    return instance(size=1, args=kernel_only)
