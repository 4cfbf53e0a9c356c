"""Interop tests need a stock flux-core: STOCK_FLUX names its `flux`. Without it they are skipped, visibly."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from flux.testing import Instance

Stock = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def stock_flux() -> str:
    """Path of the stock `flux`."""
    path = os.environ.get("STOCK_FLUX")
    if not path:
        pytest.skip("STOCK_FLUX does not name a stock flux")
    return path


@pytest.fixture
def stock(stock_flux: str, instance: Callable[..., Instance]) -> Stock:
    """Run a stock command against our instance of two brokers: stock("getattr", "size", rank=1)."""
    running = instance(size=2)

    def run(*words: str, rank: int = 0, **options: Any) -> subprocess.CompletedProcess[str]:
        return running.run(stock_flux, *words, rank=rank, **options)

    return run
