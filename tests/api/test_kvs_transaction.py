"""KVSTxn with a handle of its own (flux.kvs.KVSTxn)."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

import flux.kvs
from flux.errors import FluxError
from flux.kvs import KVSTxn
from flux.testing import Instance


def test_a_transaction_commits_itself(instance: Callable[..., Instance]) -> None:
    handle = instance(size=1).handle()
    txn = KVSTxn(handle, "tests.txn")
    txn.put("a", [1]).put("b", b'"raw"', raw=True).mkdir("c")
    txn.commit()
    assert (flux.kvs.get(handle, "tests.txn.a"), flux.kvs.get(handle, "tests.txn.b")) == ([1], "raw")
    assert flux.kvs.isdir(handle, "tests.txn.c")
    assert len(txn) == 0
    flux.kvs.namespace_create(handle, "other")
    assert KVSTxn(handle, namespace="other").put("x", 1).commit_async().get()["rootseq"] == 1
    assert flux.kvs.get(handle, "x", namespace="other") == 1
    flux.kvs.namespace_remove(handle, "other")


def test_without_a_handle() -> None:
    with pytest.raises(FluxError, match="no handle") as caught:
        KVSTxn().put("a", 1).commit()
    assert caught.value.errno == errno.EINVAL
