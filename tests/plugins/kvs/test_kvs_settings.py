"""What can be set about the store: periodic checkpoints, and followers that are late on purpose."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from kvs_kit import STORE

from flux import kvs
from flux.constants import FLUX_KVS_TREEOBJ
from flux.errors import FluxError
from flux.kvs import KVSTxn, commit_async
from flux.kvs.roots import checkpoints
from flux.testing import Instance, wait_for


@pytest.fixture
def ranks(instance: Callable[..., Instance]) -> list[Any]:
    running = instance(size=2, args=STORE)
    return [running.handle(rank) for rank in range(2)]


def test_a_paused_follower_sees_new_roots_later(ranks):
    leader, follower = ranks
    kvs.commit(leader, txn=KVSTxn().put("paused", 0))
    kvs.wait_version(follower, kvs.getroot(leader)["rootseq"])
    follower.rpc("kvs.setroot-pause", {"namespace": "primary"}).get()
    kvs.commit(leader, txn=KVSTxn().put("paused", 1))
    kvs.commit(leader, txn=KVSTxn().put("paused", 2))
    own = commit_async(follower, KVSTxn().put("own", 1), namespace="primary")
    assert kvs.get(follower, "paused") == 0
    follower.rpc("kvs.setroot-unpause", {"namespace": "primary"}).get()
    rootseq = own.get()["rootseq"]
    assert kvs.wait_version(follower, rootseq) >= rootseq
    assert (kvs.get(follower, "paused"), kvs.get(follower, "own")) == (2, 1)


def test_only_followers_of_a_namespace_can_be_paused(ranks):
    leader, follower = ranks
    for handle, namespace, errnum in ((leader, "primary", errno.EINVAL), (follower, "none", errno.ENOTSUP)):
        with pytest.raises(FluxError) as caught:
            handle.rpc("kvs.setroot-pause", {"namespace": namespace}).get()
        assert caught.value.errno == errnum


def is_on_record(handle: Any, rootref: str) -> bool:
    return any(checkpoint.rootref == rootref for checkpoint in checkpoints(handle))


def test_a_checkpoint_each_period(tmp_path):
    config = tmp_path / "kvs.toml"
    config.write_text('[kvs]\ncheckpoint-period = "0.05s"\n')
    with Instance(args=[*STORE, f"--config-path={config}"]) as running:
        handle = running.handle()
        for number in range(2):
            kvs.commit(handle, txn=KVSTxn().put("number", number))
            rootref = kvs.getroot(handle)["rootref"]
            wait_for(partial(is_on_record, handle, rootref), what="a checkpoint")


def test_a_period_that_is_none_is_an_error():
    from flux_plugins.kvs.periodic import _period

    assert _period(None) == 0
    assert _period("30m") == 1800
    for wrong in ("soon", "0s", 5, "-1s"):
        with pytest.raises(FluxError, match="checkpoint-period"):
            _period(wrong)


def test_a_namespace_may_begin_with_a_directory(ranks):
    leader, follower = ranks
    kvs.commit(leader, txn=KVSTxn().put("some.dir.key", 1))
    ref = kvs.lookup_async(leader, "some.dir", FLUX_KVS_TREEOBJ).get()["data"][0]
    kvs.namespace_create(follower, "begun", rootref=ref)
    assert kvs.get(follower, "key", "begun") == 1
    assert kvs.getroot(leader, "begun")["rootref"] == ref
    with pytest.raises(FluxError):
        kvs.namespace_create(leader, "other", rootref="nonsense")
    kvs.namespace_remove(leader, "begun")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_value_is_read_that_does_not_fit_into_the_cache(
    instance: Callable[..., Instance], tmp_path: Path, rank: int
) -> None:
    composition = tmp_path / "plugins.toml"
    composition.write_text('extends = "default"\n[modules.kvs]\nargs = { cache_size = 40000 }\n')
    handle = instance(size=2, args=[f"--plugins={composition}"]).handle(rank)
    for number in range(20):
        kvs.commit(handle, txn=KVSTxn().append("long", bytes([number]) * 5000))
    kvs.dropcache(handle)
    assert kvs.lookup_async(handle, "long").value() == b"".join(bytes([number]) * 5000 for number in range(20))
    assert handle.rpc("kvs.stats-get").get()["cache"]["size"] <= 40_000
