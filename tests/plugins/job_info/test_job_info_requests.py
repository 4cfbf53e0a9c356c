"""Requests to job-info that are of no job, or cannot be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flux.errors import FluxError
from flux.testing import Instance

REQUESTS: dict[str, dict[str, Any]] = {
    "lookup": {"keys": ["R"], "flags": 0},
    "update-lookup": {"key": "R", "flags": 0},
}


@pytest.mark.parametrize("method", REQUESTS)
@pytest.mark.parametrize("jobid", [-1, 1 << 64])
def test_an_id_that_no_job_can_have(instance: Callable[..., Instance], method: str, jobid: int) -> None:
    handle = instance(size=1).handle()
    with pytest.raises(FluxError, match="is not an unsigned 64 bit integer"):
        handle.rpc(f"job-info.{method}", {"id": jobid, **REQUESTS[method]}).get()
    with pytest.raises(FileNotFoundError):
        handle.rpc(f"job-info.{method}", {"id": (1 << 64) - 1, **REQUESTS[method]}).get()
