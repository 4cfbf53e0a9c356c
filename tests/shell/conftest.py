"""Fixtures: instances in which job shells run without the job services."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from shell_jobs import COMPOSITION, Jobs

from flux.testing import Instance


@pytest.fixture(scope="module")
def jobs() -> Iterator[Jobs]:
    with Instance(args=[f"--plugins={COMPOSITION}"]) as instance:
        yield Jobs(instance)


@pytest.fixture(scope="module")
def jobs2() -> Iterator[Jobs]:
    """An instance of two brokers."""
    with Instance(size=2, args=[f"--plugins={COMPOSITION}"]) as instance:
        yield Jobs(instance)
