"""What tests of the store share: a composition with little else, and a check of an errno."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flux.errors import FluxError

STORE = [f"--plugins={Path(__file__).parent / 'store.toml'}"]


@contextmanager
def raises(errnum: int) -> Iterator[None]:
    with pytest.raises(FluxError) as caught:
        yield
    assert caught.value.errno == errnum, caught.value
