"""A commit that is relayed to rank 0 twice is made once, and its outcome told as often as it is asked for."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import flux
from flux.constants import FLUX_KVS_APPEND
from flux.kvs import lookup_async
from flux.testing import Instance


def relay(handle: Any, name: str, ops: list[dict[str, Any]], namespace: str = "primary") -> None:
    handle.notify("kvs.relaycommit", {"ops": ops, "name": name, "namespace": namespace, "flags": 0}, 0)


def outcome(handle: Any, name: str) -> Any:
    """The next event that tells of the transaction."""
    while name not in (event := handle.event_recv()).payload["names"]:
        pass
    return event


def test_a_commit_relayed_twice_is_made_once(instance: Callable[..., Instance]) -> None:
    append = {"key": "relay.log", "flags": FLUX_KVS_APPEND, "dirent": {"ver": 1, "type": "val", "data": "eA=="}}
    with flux.Flux(instance(2).uri_of(1)) as handle:
        handle.event_subscribe("kvs.namespace-primary")
        told = []
        for _ in range(3):
            relay(handle, "transaction_req.1.twice.1", [append])
            told.append(outcome(handle, "transaction_req.1.twice.1").payload)
        assert len({(payload["rootref"], payload["rootseq"]) for payload in told}) == 1
        relay(handle, "transaction_req.1.twice.2", [append])
        assert outcome(handle, "transaction_req.1.twice.2").payload["rootseq"] > told[0]["rootseq"]
        assert lookup_async(handle, "relay.log", namespace="primary").value() == b"xx"


def test_an_error_is_told_again(instance: Callable[..., Instance]) -> None:
    with flux.Flux(instance(2).uri_of(1)) as handle:
        handle.event_subscribe("kvs.namespace-nowhere")
        for _ in range(2):
            relay(handle, "transaction_req.1.lost.1", [], "nowhere")
            event = outcome(handle, "transaction_req.1.lost.1")
            assert event.topic.endswith("-error") and event.payload["errnum"] == errno.ENOTSUP
