"""A module that was told that events are lost to it reads the roots anew, and watchers miss nothing by it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import flux
from flux.constants import FLUX_KVS_WATCH, FLUX_KVS_WATCH_APPEND
from flux.errors import FluxError
from flux.kvs import KVSTxn, commit_async, namespace_create, namespace_remove, watch_async
from flux.testing import Instance


@pytest.mark.parametrize("topic", ["overlay.resync", "event.lost"])
def test_watches_go_on_after_lost_events(instance: Callable[..., Instance], topic: str) -> None:
    running = instance(2)
    with flux.Flux(running.uri_of(1)) as handle:
        namespace = f"resync-{topic.partition('.')[0]}"
        namespace_create(handle, namespace)
        commit_async(handle, KVSTxn().put("value", 0).append("log", "a"), namespace=namespace).get()
        value = watch_async(handle, "value", FLUX_KVS_WATCH, namespace)
        log = watch_async(handle, "log", FLUX_KVS_WATCH_APPEND | FLUX_KVS_WATCH, namespace)
        assert (value.value(), log.value()) == (b"0", b"a")
        handle.event_publish(topic, {"first": 1, "last": 2, "count": 2})
        for word in "bc":
            log.reset()
            commit_async(handle, KVSTxn().append("log", word), namespace=namespace).get()
            log.wait_for(30)
            assert log.value() == word.encode()
        value.reset()
        commit_async(handle, KVSTxn().put("value", 1), namespace=namespace).get()
        while value.value() != b"1":
            value.reset()
            value.wait_for(30)
        namespace_remove(handle, namespace)
        log.reset()
        log.wait_for(30)
        with pytest.raises(FluxError, match="removed"):
            log.get()
