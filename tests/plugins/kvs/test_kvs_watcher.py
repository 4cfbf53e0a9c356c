"""What a watch tells its client, root by root (flux_kvs_lookup(3), FLUX_KVS_WATCH)."""

from __future__ import annotations

import errno

import pytest

from flux.constants import (
    FLUX_KVS_STREAM,
    FLUX_KVS_TREEOBJ,
    FLUX_KVS_WAITCREATE,
    FLUX_KVS_WATCH,
    FLUX_KVS_WATCH_APPEND,
    FLUX_KVS_WATCH_FULL,
    FLUX_KVS_WATCH_INITIAL_SENTINEL,
    FLUX_KVS_WATCH_UNIQ,
)
from flux.errors import EndOfStream, FluxError
from flux.kvs import treeobj
from flux.message import REQUEST, Message
from flux_plugins.kvs_watch.namespace import WatchedNamespace
from flux_plugins.kvs_watch.requests import Blobs
from flux_plugins.kvs_watch.watcher import Watcher, check_flags

WATCH = FLUX_KVS_WATCH
APPEND = WATCH | FLUX_KVS_WATCH_APPEND
ONE, TWO = treeobj.val(b"1"), treeobj.val(b"2")


def watcher(flags: int, key: str = "a") -> Watcher:
    return Watcher(Message(REQUEST, "kvs-watch.lookup", routes=["client"], matchtag=1), key, flags)


def texts(outcome) -> list[bytes | None]:
    return [None if r is None else treeobj.decode_val(r["val"]) for r in outcome.responses]


def test_a_watch_tells_every_value_also_equal_ones():
    watch = watcher(WATCH)
    assert [texts(watch.on_value(obj)) for obj in (ONE, ONE, TWO)] == [[b"1"], [b"1"], [b"2"]]


@pytest.mark.parametrize("mode", [FLUX_KVS_WATCH_UNIQ, FLUX_KVS_WATCH_FULL])
def test_uniq_and_full_tell_only_changes(mode):
    watch = watcher(WATCH | mode)
    assert [texts(watch.on_value(obj)) for obj in (ONE, ONE, TWO, ONE)] == [[b"1"], [], [b"2"], [b"1"]]


def test_removal_ends_a_watch_and_absence_ends_it_at_once():
    watch = watcher(WATCH)
    watch.on_value(ONE)
    assert watch.on_error(FluxError(errno.ENOENT)).error.errno == errno.ENOENT
    assert watcher(WATCH).on_error(FluxError(errno.ENOENT)).error.errno == errno.ENOENT


def test_waitcreate_waits_for_the_first_value_only():
    watch = watcher(WATCH | FLUX_KVS_WAITCREATE)
    assert watch.on_error(FluxError(errno.ENOENT)) == ([], None, False)
    assert texts(watch.on_value(ONE)) == [b"1"]
    assert watch.on_error(FluxError(errno.ENOENT)).error.errno == errno.ENOENT


def test_waitcreate_alone_is_done_after_one_value():
    assert watcher(FLUX_KVS_WAITCREATE).on_value(ONE).done


def test_append_tells_new_blobs_one_by_one_with_a_mark_after_the_first_ones():
    watch = watcher(APPEND | FLUX_KVS_WATCH_INITIAL_SENTINEL)
    assert texts(watch.on_blobs(Blobs(2, [b"x", b"y"], "", "ref2"))) == [b"x", b"y", None]
    assert watch.offset == 2
    assert texts(watch.on_blobs(Blobs(3, [b"z"], "ref2", "ref3"))) == [b"z"]
    assert texts(watch.on_blobs(Blobs(3, [], "ref3", "ref3"))) == []


def test_append_looks_again_at_the_root_that_it_has_not_read_to_its_end():
    watch = watcher(APPEND | FLUX_KVS_WATCH_INITIAL_SENTINEL)
    assert texts(watch.on_blobs(Blobs(3, [b"x", b"y"], "", "ref2"), "root")) == [b"x", b"y"]
    assert list(watch.roots) == ["root"]
    watch.add_root("newer")
    assert list(watch.roots) == ["newer"]
    watch.roots.clear()
    assert texts(watch.on_blobs(Blobs(3, [b"z"], "ref2", "ref3"), "newer")) == [b"z", None]
    assert not watch.roots


def test_a_stream_keeps_to_the_root_that_it_began_with():
    watch = watcher(FLUX_KVS_STREAM)
    assert watch.on_blobs(Blobs(2, [b"x"], "", "ref1"), "root").error is None
    watch.add_root("newer")
    assert list(watch.roots) == ["root"]
    assert isinstance(watch.on_blobs(Blobs(2, [b"y"], "ref1", "ref2"), "root").error, EndOfStream)


def test_a_full_window_stops_a_watch_until_its_client_has_taken_something():
    watch = Watcher(watcher(APPEND).msg, "a", APPEND, window=10)
    watch.on_blobs(Blobs(2, [b"x" * 10], "", "ref1"), "root")
    assert (watch.may_look, watch.is_behind) == (False, True)
    watch.untaken -= 1
    assert watch.may_look


@pytest.mark.parametrize("value", [Blobs(1, [], "", "other"), Blobs(2, [], "other", "other")])
def test_append_ends_when_the_value_is_overwritten(value):
    watch = watcher(APPEND)
    watch.on_blobs(Blobs(2, [b"x", b"y"], "", "ref2"))
    assert watch.on_blobs(value).error.errno == errno.EINVAL


def test_stream_tells_all_blobs_and_ends():
    outcome = watcher(FLUX_KVS_STREAM).on_blobs(Blobs(2, [b"x", b"y"], "", "r"))
    assert texts(outcome) == [b"x", b"y"]
    assert isinstance(outcome.error, EndOfStream)


def test_append_looks_only_at_the_newest_root_and_a_plain_watch_at_each():
    for flags, left in ((APPEND, ["c"]), (WATCH, ["a", "b", "c"])):
        watch = watcher(flags)
        for root in "abc":
            watch.add_root(root)
        assert list(watch.roots) == left


@pytest.mark.parametrize(
    ("flags", "streaming", "errnum"),
    [
        (WATCH, False, errno.EPROTO),
        (FLUX_KVS_STREAM, False, errno.EPROTO),
        (WATCH | FLUX_KVS_STREAM, True, errno.EINVAL),
        (FLUX_KVS_WATCH_UNIQ, True, errno.EINVAL),
        (WATCH | FLUX_KVS_WATCH_INITIAL_SENTINEL, True, errno.EINVAL),
    ],
)
def test_flags_that_do_not_go_together(flags, streaming, errnum):
    with pytest.raises(FluxError) as caught:
        check_flags(flags, streaming)
    assert caught.value.errno == errnum


def test_only_the_lookup_flags_are_passed_on():
    assert watcher(WATCH | FLUX_KVS_WAITCREATE | FLUX_KVS_TREEOBJ).lookup_flags == FLUX_KVS_TREEOBJ


def test_a_root_concerns_watchers_of_its_keys_and_those_of_everything():
    namespace = WatchedNamespace("primary")
    a, b, full = watcher(WATCH), watcher(WATCH, "b"), watcher(WATCH | FLUX_KVS_WATCH_FULL, "z")
    for watch in (a, b, full):
        namespace.add(watch)
    assert namespace.concerned(["a", "q"]) == [full, a]
    for watch in (a, b, full):
        namespace.discard(watch)
        namespace.discard(watch)
    assert not namespace
    assert namespace.concerned(["a"]) == []


def test_an_older_root_does_not_replace_a_newer_one():
    namespace = WatchedNamespace("primary")
    assert namespace.set_root("r2", 2, 0)
    assert not namespace.set_root("r1", 1, 0)
    assert namespace.rootref == "r2"
