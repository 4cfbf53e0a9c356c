"""The pytest plugin of `flux.testing`: instances as fixtures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flux.testing import Instance


@pytest.fixture(scope="module")
def flux_instance() -> Iterator[Callable[..., Instance]]:
    """A factory of running instances, kept by their arguments and ended after the module."""
    instances: dict[str, Instance] = {}

    def start(size: int = 1, **options: Any) -> Instance:
        key = repr((size, sorted(options.items())))
        if key not in instances or instances[key].process.poll() is not None:
            instances[key] = Instance(size, **options).start()
        return instances[key]

    yield start
    for instance in instances.values():
        if instance.process.poll() is None:
            instance.stop()


@pytest.fixture
def flux_handle(flux_instance: Callable[..., Instance]) -> Any:
    """A handle on an instance of one broker."""
    return flux_instance(1).handle()
