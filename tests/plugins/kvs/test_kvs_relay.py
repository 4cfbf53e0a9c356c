"""A commit that is relayed to rank 0 twice is made once, and answered as often as it is asked for."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

import flux
from flux.constants import FLUX_KVS_APPEND
from flux.kvs import lookup_async
from flux.testing import Instance


def relay(handle: Any, name: str, ops: list[dict[str, Any]], namespace: str = "primary") -> Any:
    return handle.rpc("kvs.relaycommit", {"ops": ops, "name": name, "namespace": namespace, "flags": 0}, 0)


def test_a_commit_relayed_twice_is_made_once(instance: Callable[..., Instance]) -> None:
    append = {"key": "relay.log", "flags": FLUX_KVS_APPEND, "dirent": {"ver": 1, "type": "val", "data": "eA=="}}
    with flux.Flux(instance(2).uri_of(1)) as handle:
        told = [relay(handle, "transaction_req.1.twice.1", [append]).get() for _ in range(3)]
        assert len({(payload["rootref"], payload["rootseq"]) for payload in told}) == 1
        assert relay(handle, "transaction_req.1.twice.2", [append]).get()["rootseq"] > told[0]["rootseq"]
        assert lookup_async(handle, "relay.log", namespace="primary").value() == b"xx"


def test_an_error_is_told_again(instance: Callable[..., Instance]) -> None:
    with flux.Flux(instance(2).uri_of(1)) as handle:
        for _ in range(2):
            with pytest.raises(OSError) as error:
                relay(handle, "transaction_req.1.lost.1", [], "nowhere").get()
            assert error.value.errno == errno.ENOTSUP


def test_requests_of_one_name_that_come_together_have_one_answer(instance: Callable[..., Instance]) -> None:
    append = {"key": "together.log", "flags": FLUX_KVS_APPEND, "dirent": {"ver": 1, "type": "val", "data": "eA=="}}
    with flux.Flux(instance(2).uri_of(1)) as handle:
        relay(handle, "transaction_req.1.together.1", [append])
        assert relay(handle, "transaction_req.1.together.1", [append]).get()["rootseq"] > 0
        assert lookup_async(handle, "together.log", namespace="primary").value() == b"x"
