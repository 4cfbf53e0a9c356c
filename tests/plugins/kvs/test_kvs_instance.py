"""The store on running instances: every rank reads what any rank wrote, and a restart finds it again."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
from kvs_kit import STORE, raises

import flux
from flux import kvs
from flux.constants import (
    FLUX_KVS_NO_MERGE,
    FLUX_KVS_READLINK,
    FLUX_KVS_WAITCREATE,
    FLUX_KVS_WATCH_APPEND,
    FLUX_KVS_WATCH_INITIAL_SENTINEL,
    FLUX_ROLE_USER,
)
from flux.content import digest_of, load_async, store_async
from flux.frames import encode_frame
from flux.kvs import KVSTxn, treeobj
from flux.message import Message
from flux.testing import Instance, wait_for

NO_SUCH = "no-such-namespace"


@pytest.fixture
def handles(instance: Callable[..., Instance]) -> list[Any]:
    four = instance(size=4, args=STORE)
    return [four.handle(rank) for rank in range(4)]


@pytest.fixture
def handle(handles: list[Any]) -> Any:
    return handles[0]


@pytest.fixture
def namespace(handles: list[Any], request: pytest.FixtureRequest) -> Any:
    """A namespace of the test's own."""
    name = f"job-{abs(hash(request.node.nodeid))}"
    kvs.namespace_create(handles[-1], name)
    yield name
    kvs.namespace_remove(handles[0], name)


# -- committing and reading


def test_every_rank_reads_at_once_what_it_committed_and_soon_what_others_did(handles):
    for turn in range(5):
        for rank, handle in enumerate(handles):
            kvs.put(handle, f"ranks.r{rank}", turn)
            kvs.put(handle, f"ranks.long{rank}", "z" * 200 + str(turn))
            kvs.commit(handle)
            assert kvs.get(handle, f"ranks.r{rank}") == turn
        version = kvs.getroot(handles[-1])["rootseq"]
        for handle in handles:
            kvs.wait_version(handle, version)
            assert [kvs.get(handle, f"ranks.r{rank}") for rank in range(4)] == [turn] * 4
            assert kvs.get(handle, "ranks.long0").endswith(str(turn))


def test_concurrent_appends_from_all_ranks_are_all_kept_in_each_writers_order(handles, namespace):
    pending = []
    for i in range(50):
        for rank, handle in enumerate(handles):
            txn = KVSTxn().append("log", f"{rank} {i}\n")
            pending.append(kvs.commit_async(handle, txn, namespace=namespace))
    for commit in pending:
        commit.get()
    lines = kvs.lookup_async(handles[2], "log", namespace=namespace).value().decode().splitlines()
    assert len(lines) == 200
    for rank in range(4):
        assert [line for line in lines if line.startswith(f"{rank} ")] == [f"{rank} {i}" for i in range(50)]


def versions(handle, namespace, flags: int) -> set[int]:
    """Root sequences of 30 commits that reach the broker in one write, and so in one turn of its loop."""
    frames: list[bytes] = []
    send, handle.session.send = handle.session.send, lambda msg: frames.append(encode_frame(msg))
    commits = [kvs.commit_async(handle, KVSTxn().put(f"k{i}", i), flags, namespace) for i in range(30)]
    handle.session.send = send
    with socket.socket(fileno=os.dup(handle.fileno())) as sock:
        sock.sendall(b"".join(frames))
    return {commit.get()["rootseq"] for commit in commits}


def test_commits_that_come_together_are_merged(handles, namespace):
    assert len(versions(handles[0], namespace, 0)) < 30


@pytest.mark.parametrize("rank", [0, 3])
def test_commits_that_must_not_be_merged_are_not(handles, namespace, rank):
    assert len(versions(handles[rank], namespace, FLUX_KVS_NO_MERGE)) == 30


def test_an_empty_commit_is_a_new_version(handle):
    before = kvs.getroot(handle)["rootseq"]
    kvs.commit(handle, txn=KVSTxn())
    assert kvs.getroot(handle)["rootseq"] == before + 1


@pytest.mark.parametrize("rank", [0, 2])
def test_a_refused_commit_changes_nothing(handles, rank):
    handle = handles[rank]
    kvs.commit(handle, txn=KVSTxn().put("refused.file", 1))
    with raises(errno.EISDIR):
        kvs.commit(handle, txn=KVSTxn().put("refused.file", 2).append("refused", "x"))
    assert kvs.get(handle, "refused.file") == 1


def test_lookups_in_a_snapshot(handles):
    kvs.commit(handles[0], txn=KVSTxn().put("snap.key", "old"))
    root = treeobj.dirref(kvs.getroot(handles[0])["rootref"])
    kvs.commit(handles[0], txn=KVSTxn().put("snap.key", "new"))
    for handle in handles:
        assert kvs.lookup_async(handle, "snap.key", rootdir=root).json() == "old"


def test_malformed_requests_are_refused_with_the_field(handle):
    for topic in ("kvs.lookup", "kvs.commit", "kvs.getroot", "kvs.wait-version", "kvs-watch.lookup"):
        with raises(errno.EPROTO):
            handle.rpc(topic, {"key": 7, "namespace": 7}).get()
    with raises(errno.EPROTO):
        handle.rpc("kvs.lookup", {"key": "a", "flags": 0}).get()
    with raises(errno.EINVAL):
        handle.rpc("kvs.lookup", {"key": "a", "flags": 0, "rootdir": treeobj.val(b"")}).get()


# -- the documented Python interface


def test_directories_are_mappings(handle):
    with kvs.get_dir(handle) as root:
        root.mkdir("pets", {"cat": 1, "dog.name": "Rex", "list": [1, {"a": None}]})
    pets = kvs.get_dir(handle, "pets")
    assert dict(pets.items())["list"] == [1, {"a": None}]
    assert (sorted(pets.files()), list(pets.directories())) == (["cat", "list"], ["dog"])
    assert pets["dog"]["name"] == "Rex"
    with pets:
        del pets["cat"]
        pets["bird"] = "Tweety"
    assert sorted(pets) == ["bird", "dog", "list"]
    with pytest.raises(KeyError, match="cat"):
        pets["cat"]
    assert list(kvs.walk("pets", flux_handle=handle)) == [
        ("dog", [], ["name"]),
        ("", ["dog"], ["bird", "list"]),
    ]
    assert next(kvs.walk(pets, topdown=True)) == ("", ["dog"], ["bird", "list"])


def test_an_exception_in_the_block_commits_nothing(handle):
    with pytest.raises(ZeroDivisionError), kvs.get_dir(handle) as root:
        root["never"] = 1
        raise ZeroDivisionError
    assert not kvs.exists(handle, "never")


def test_links_and_kinds(handle):
    kvs.put(handle, "kinds.value", 1)
    kvs.put_mkdir(handle, "kinds.dir")
    kvs.put_symlink(handle, "kinds.link", "kinds.dir")
    kvs.put_symlink(handle, "kinds.dangling", "nowhere")
    kvs.commit(handle)
    assert [kvs.isdir(handle, f"kinds.{k}") for k in ("value", "dir", "link", "dangling")] == [0, 1, 1, 0]
    assert [kvs.exists(handle, f"kinds.{k}") for k in ("value", "dir", "link", "dangling")] == [1, 1, 1, 0]
    kvs.put_unlink(handle, "kinds")
    kvs.commit(handle)
    assert not kvs.exists(handle, "kinds")


@pytest.mark.parametrize(("key", "errnum"), [(".", errno.EISDIR), ("kinds", errno.EINVAL), ("none", errno.ENOENT)])
def test_what_is_no_link_cannot_be_read_as_one(handle, key, errnum):
    kvs.commit(handle, txn=KVSTxn().mkdir("kinds"))
    with raises(errnum):
        kvs.lookup_async(handle, key, FLUX_KVS_READLINK).get()


# -- namespaces


def test_a_namespace_is_apart_from_others_on_every_rank(handles, namespace):
    kvs.commit(handles[1], namespace=namespace, txn=KVSTxn().put("mine", 1))
    for handle in handles:
        kvs.wait_version(handle, 1, namespace)
        assert kvs.get(handle, "mine", namespace) == 1
        assert not kvs.exists(handle, "mine")
        assert namespace in [entry["namespace"] for entry in kvs.namespace_list(handle)]
    with raises(errno.EEXIST):
        kvs.namespace_create(handles[2], namespace)


def test_links_lead_into_other_namespaces(handles, namespace):
    kvs.commit(handles[0], namespace=namespace, txn=KVSTxn().put("dir.key", "there"))
    kvs.commit(handles[3], txn=KVSTxn().symlink("guest", ".", namespace))
    assert kvs.get(handles[3], "guest.dir.key") == "there"


@pytest.mark.parametrize("rank", [0, 3])
def test_unknown_namespaces(handles, rank):
    handle = handles[rank]
    calls = [
        lambda: kvs.get(handle, "a", NO_SUCH),
        lambda: kvs.getroot(handle, NO_SUCH),
        lambda: kvs.wait_version(handle, 1, NO_SUCH),
        lambda: kvs.commit(handle, namespace=NO_SUCH, txn=KVSTxn().put("a", 1)),
        lambda: kvs.watch_async(handle, "a", namespace=NO_SUCH).get(),
        lambda: kvs.namespace_remove(handle, "primary"),
    ]
    for call in calls:
        with raises(errno.ENOTSUP):
            call()


@pytest.mark.parametrize("rank", [0, 3])
def test_removing_a_namespace_answers_who_waits_on_it(handles, rank):
    name = f"going-{rank}"
    kvs.namespace_create(handles[0], name)
    kvs.commit(handles[rank], namespace=name, txn=KVSTxn().put("key", 1))
    watch = kvs.watch_async(handles[rank], "key", namespace=name)
    assert watch.json() == 1
    watch.reset()
    version = kvs.wait_version_async(handles[rank], 1000, name)
    kvs.getroot(handles[rank], name)
    kvs.namespace_remove(handles[1], name)
    for waiting in (watch, version):
        with raises(errno.ENOTSUP):
            waiting.get()


# -- guests


class Guest(flux.Flux):
    """A handle that speaks for another user; the instance owner may do that (RFC 12)."""

    def send_message(self, msg: Message) -> None:
        if msg.topic.startswith("kvs"):
            msg.userid, msg.rolemask = 4242, FLUX_ROLE_USER
        super().send_message(msg)


@pytest.mark.parametrize("rank", [0, 2])
def test_guests_use_their_own_namespaces_only_and_write_only_values(instance, handles, rank):
    name = f"guest-{rank}"
    kvs.namespace_create(handles[0], name, owner=4242)
    with Guest(instance(size=4, args=STORE).uri_of(rank)) as guest:
        kvs.commit(guest, namespace=name, txn=KVSTxn().put("mine", 1).mkdir("dir"))
        assert kvs.get(guest, "mine", name) == 1
        assert kvs.watch_async(guest, "mine", namespace=name).json() == 1
        for call in (
            lambda: kvs.get(guest, "ranks"),
            lambda: kvs.watch_async(guest, "ranks").get(),
            lambda: kvs.commit(guest, txn=KVSTxn().put("a", 1)),
            lambda: kvs.commit(guest, namespace=name, txn=KVSTxn().symlink("out", ".", "primary")),
            lambda: kvs.namespace_create(guest, "another"),
        ):
            with raises(errno.EPERM):
                call()
    kvs.namespace_remove(handles[0], name)


# -- watching


@pytest.mark.parametrize("rank", [0, 3])
def test_appends_are_told_one_by_one_from_another_rank(handles, namespace, rank):
    writer, reader = handles[1], handles[rank]
    flags = FLUX_KVS_WATCH_APPEND | FLUX_KVS_WATCH_INITIAL_SENTINEL | FLUX_KVS_WAITCREATE
    watch = kvs.watch_async(reader, "log", flags, namespace)
    for line in ("one\n", "two\n", "three\n"):
        kvs.commit(writer, namespace=namespace, txn=KVSTxn().append("log", line))
    told = []
    while told[-1:] != [b"three\n"]:
        obj = watch.get()
        if obj is not None:
            told.append(treeobj.decode_val(obj))
        watch.reset()
    assert told == [b"one\n", b"two\n", b"three\n"]
    watch.cancel()
    with raises(errno.ENODATA):
        watch.get()


def test_each_commit_of_the_key_is_told_and_removal_ends_the_watch(handles, namespace):
    kvs.commit(handles[0], namespace=namespace, txn=KVSTxn().put("key", 0))
    watch = kvs.watch_async(handles[2], "key", namespace=namespace)
    told = [watch.json()]
    for i in range(1, 20):
        kvs.commit(handles[0], namespace=namespace, txn=KVSTxn().put("key", i).put("other", i))
    kvs.commit(handles[0], namespace=namespace, txn=KVSTxn().unlink("key"))
    with raises(errno.ENOENT):
        while True:
            watch.reset()
            told.append(watch.json())
    assert told == list(range(20))


def test_watchers_of_clients_that_went_away_are_forgotten(instance, handles):
    def watchers() -> int:
        return int(handles[1].rpc("kvs-watch.stats-get").get()["watchers"])

    before = watchers()
    with flux.Flux(instance(size=4, args=STORE).uri_of(1)) as client:
        for i in range(20):
            kvs.watch_async(client, f"away.{i}", FLUX_KVS_WAITCREATE)
        kvs.getroot(client)
        wait_for(lambda: watchers() == before + 20)
    wait_for(lambda: watchers() == before)


# -- content


def test_a_blob_stored_on_any_rank_is_loaded_on_every_other(handles):
    for rank, handle in enumerate(handles):
        blob = b"blob of rank %d" % rank
        digest = store_async(handle, blob).get()
        for other in handles:
            assert load_async(other, digest).get() == blob
    assert store_async(handles[3], b"").get() == digest_of(treeobj.blobref(b""))
    assert load_async(handles[2], digest_of(treeobj.blobref(b""))).get() == b""


def test_dropped_blobs_come_back_from_the_backing_store(handles):
    digest = store_async(handles[3], b"drop me").get()
    handles[0].rpc("content.flush").get()
    for handle in handles:
        handle.rpc("content.dropcache").get()
        assert handle.rpc("content.stats-get").get()["count"] == 0
    assert load_async(handles[3], digest).get() == b"drop me"
    assert load_async(handles[3], digest, bypass_cache=True).get() == b"drop me"


@pytest.mark.parametrize("rank", [0, 3])
def test_content_errors(handles, rank):
    with raises(errno.ENOENT):
        load_async(handles[rank], b"\0" * 20).get()
    with raises(errno.EPROTO):
        load_async(handles[rank], b"short").get()
    with raises(errno.EBUSY if rank == 0 else errno.EINVAL):
        handles[rank].rpc("content.register-backing", {"name": "mine"}).get()


def test_caches_can_be_dropped_everywhere_and_the_store_still_reads(handles):
    kvs.commit(handles[2], txn=KVSTxn().put("dropped.key", "z" * 200))
    handles[0].rpc("content.flush").get()
    for handle in handles:
        kvs.dropcache(handle)
    for handle in handles:
        assert kvs.get(handle, "dropped.key") == "z" * 200
    kvs.dropcache(handles[0])
    kvs.commit(handles[3], txn=KVSTxn().put("dropped.other", 1))
    assert kvs.get(handles[3], "dropped") is not None
