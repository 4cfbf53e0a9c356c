"""Transactions of several clients that are committed as one (flux_kvs_fence(3))."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

from flux import kvs
from flux.errors import FluxError
from flux.testing import Instance


@pytest.fixture(scope="module")
def pair() -> Iterator[Instance]:
    with Instance(2) as instance:
        yield instance


def test_all_of_it_is_there_once_the_last_has_entered(pair: Instance) -> None:
    handles = [pair.handle(rank) for rank in (0, 1, 1, 0)]
    before = kvs.getroot(handles[0])["rootseq"]
    fences = [
        kvs.fence_async(handle, "all", 4, kvs.KVSTxn().put(f"fence.{i}", i)) for i, handle in enumerate(handles[:3])
    ]
    assert not kvs.exists(handles[0], "fence")
    assert kvs.fence(handles[3], "all", 4, txn=kvs.KVSTxn().put("fence.3", 3)) == 0
    roots = [fence.get() for fence in fences]
    assert len({root["rootseq"] for root in roots}) == len({root["rootref"] for root in roots}) == 1
    assert roots[0]["rootseq"] > before
    for handle in handles:
        assert [kvs.get(handle, f"fence.{i}") for i in range(4)] == [0, 1, 2, 3]


def test_none_of_it_is_there_when_a_part_cannot_be(pair: Instance) -> None:
    handle = pair.handle(1)
    kvs.put_mkdir(handle, "adir")
    kvs.commit(handle)
    good = kvs.fence_async(handle, "part", 2, kvs.KVSTxn().put("good", 1))
    bad = kvs.fence_async(pair.handle(0), "part", 2, kvs.KVSTxn().append("adir", "x"))
    for fence in (good, bad):
        with pytest.raises(FluxError) as caught:
            fence.get()
        assert caught.value.errno == errno.EISDIR
    assert not kvs.exists(handle, "good")


def test_what_does_not_fit_the_others_is_refused(pair: Instance) -> None:
    handle = pair.handle(1)
    waiting = kvs.fence_async(handle, "odd", 2, kvs.KVSTxn().put("odd", 1))

    def refusal(name: str, nprocs: int) -> int:
        with pytest.raises(FluxError) as caught:
            kvs.fence(handle, name, nprocs, txn=kvs.KVSTxn())
        return caught.value.errno

    assert refusal("odd", 3) == errno.EINVAL
    assert refusal("", 1) == errno.EINVAL
    assert refusal("none", 0) == errno.EINVAL
    assert kvs.fence(handle, "odd", 2, txn=kvs.KVSTxn()) == 0
    assert waiting.get()["rootseq"] > 0
    assert refusal("odd", 2) == errno.EOVERFLOW
    with pytest.raises(FluxError) as caught:
        kvs.fence(handle, "elsewhere", 1, namespace="nowhere", txn=kvs.KVSTxn())
    assert caught.value.errno == errno.ENOTSUP
