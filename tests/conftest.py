"""Fixtures of all tests: `instance(size=N)` gives a running instance (see flux.testing)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flux.testing import Instance


@pytest.fixture
def instance(flux_instance: Callable[..., Instance]) -> Callable[..., Instance]:
    """`instance(size=1, attrs=..., args=...)`: a running instance, shared by the tests of one module."""
    return flux_instance
