"""Values of a key as they change, and the checkpoints of the KVS (flux.kvs.kvs_watch_async)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flux import kvs
from flux.constants import FLUX_KVS_SYNC
from flux.testing import Instance


@pytest.fixture
def handle(instance: Callable[..., Instance]) -> Any:
    return instance(size=1).handle()


def commit(handle: Any, key: str, value: Any) -> None:
    kvs.put(handle, key, value)
    kvs.commit(handle)


def test_values_by_callbacks(handle: Any) -> None:
    got: list[Any] = []

    def changed(watch: Any) -> None:
        value = watch.get()
        got.append(value)
        if value == 3:
            watch.cancel(stop=True)
        else:
            kvs.KVSTxn(handle).put("watched", value + 1).commit_async()

    kvs.kvs_watch_async(handle, "watched", waitcreate=True).then(changed)
    kvs.KVSTxn(handle).put("watched", 1).commit_async()
    handle.reactor_run()
    assert got == [1, 2, 3]


def test_values_one_by_one(handle: Any) -> None:
    commit(handle, "one.by.one", "a")
    watch = kvs.kvs_watch_async(handle, "one.by.one", uniq=True)
    assert [watch.get(autoreset=False), watch.get()] == ["a", "a"]
    for value in ("a", "b"):
        commit(handle, "one.by.one", value)
    assert watch.get() == "b"
    watch.cancel()
    assert watch.get() is None
    with pytest.raises(FileNotFoundError):
        kvs.kvs_watch_async(handle, "no.such.key").get()


def test_a_directory_above_counts_where_it_is_said(handle: Any) -> None:
    commit(handle, "above.key", 1)
    watch = kvs.kvs_watch_async(handle, "above.key", full=True)
    assert watch.get() == 1
    kvs.put_unlink(handle, "above")
    kvs.commit(handle)
    with pytest.raises(FileNotFoundError):
        watch.get()


def test_checkpoints(handle: Any) -> None:
    kvs.put(handle, "raw", b"no json", raw=True)
    assert kvs.commit(handle, FLUX_KVS_SYNC) == 0
    (newest, *_) = kvs.kvs_checkpoint_lookup(handle)
    assert newest["rootref"] == kvs.getroot(handle)["rootref"]
    assert kvs.kvs_checkpoint_lookup(handle, cache_bypass=True)[0] == newest
    assert kvs.lookup_async(handle, "raw").value() == b"no json"


def test_values_that_are_no_json(handle: Any) -> None:
    for data, value in ((b'{"a": 1}', {"a": 1}), (b"1 2\n", "1 2\n"), (b"\xff\0", b"\xff\0"), (b"", "")):
        kvs.put(handle, "plain", data, raw=True)
        kvs.commit(handle)
        assert kvs.get(handle, "plain") == value
