"""What a rank above 0 reads of a key comes with one request, through all ranks on the way, and is the same."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

import pytest
from kvs_kit import STORE, raises

from flux import kvs
from flux.blobs import unpack
from flux.content import RawRPC, digest_of
from flux.kvs import KVSTxn, treeobj
from flux.testing import Instance

DEEP = "a.b.c.d.e.f.g"
LONG = "l" * 5000


@pytest.fixture(scope="module")
def chain() -> Iterator[Instance]:
    """Ranks 0 to 2, each below the one before."""
    with Instance(3, attrs={"tbon.fanout": "1"}, args=STORE) as running:
        txn = KVSTxn().put(f"{DEEP}.long", LONG).put(f"{DEEP}.short", 1).symlink("link", f"{DEEP}.long")
        for number in range(3000):
            txn.put(f"large.key{number}", number)
        kvs.commit(running.handle(), txn=txn)
        yield running


def forget(running: Instance) -> Any:
    """A handle to the last rank, when no rank above 0 has anything in memory."""
    for rank in (1, 2):
        handle = running.handle(rank)
        kvs.wait_version(handle, kvs.getroot(running.handle())["rootseq"])
        handle.rpc("kvs.dropcache").get()
        handle.rpc("content.dropcache").get()
    return running.handle(2)


def blobs_in_memory(handle: Any) -> int:
    return handle.rpc("content.stats-get").get()["count"]


def test_a_deep_key_is_read_without_the_content_service_of_each_rank(chain):
    handle = forget(chain)
    before = [blobs_in_memory(chain.handle(rank)) for rank in (1, 2)]
    assert kvs.get(handle, f"{DEEP}.long") == LONG
    assert kvs.get(handle, "link") == LONG
    assert kvs.get(handle, "large.key2999") == 2999
    assert [blobs_in_memory(chain.handle(rank)) for rank in (1, 2)] == before
    handle = chain.handle(1)
    root = kvs.getroot(handle)["rootref"]
    assert kvs.get(handle, f"{DEEP}.short") == 1  # the rank on the way has kept it
    answer = unpack(RawRPC(handle, "kvs.load-path", digest_of(root) + DEEP.encode()).get())
    assert answer[0] is not None
    assert treeobj.blobref(answer[0]) == root
    assert len(answer) == 1 + DEEP.count(".")  # the last of them is the one that has what the last name stands for


def test_what_is_not_there_is_said(chain):
    handle = forget(chain)
    for key in (f"{DEEP}.none", f"{DEEP}.short.below"):
        with raises(errno.ENOENT):
            kvs.get(handle, key)
    assert list(kvs.get_dir(handle, DEEP).files()) == ["long", "short"]
    nowhere = {"type": "dirref", "ver": 1, "data": ["sha1-" + 40 * "1"]}
    kvs.commit(chain.handle(), txn=KVSTxn().put_treeobj("broken", nowhere))
    with raises(errno.ENOTRECOVERABLE):
        kvs.get(forget(chain), "broken.key")


@pytest.mark.parametrize("question", [b"", b"short", bytes(20) + b"\xff"])
def test_a_question_that_is_none_is_refused(chain, question):
    with raises(errno.EPROTO):
        RawRPC(chain.handle(), "kvs.load-path", question).get()


def test_many_who_ask_at_once_get_the_same(chain):
    handle = forget(chain)
    requests = [kvs.lookup_async(handle, f"{DEEP}.long") for _ in range(50)]
    assert {request.value() for request in requests} == {f'"{LONG}"'.encode()}
