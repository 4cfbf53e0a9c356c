"""Fixtures of the tests of the API: `running`, an instance of one broker, and `handle`, a connection to it."""

from __future__ import annotations

from collections.abc import Callable
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
