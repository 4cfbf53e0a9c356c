"""Who may join below a broker, and what a broker knows of its children."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.errors import FluxError
from flux.message import REQUEST, ROLE_OWNER, ROLE_USER, Message
from flux_plugins.overlay.hello import HelloRequest, check_hello, pack_version, version_text
from flux_plugins.overlay.peers import Peers, Status

OURS = pack_version("0.88.0")


def hello(**changes: object) -> HelloRequest:
    fields: dict[str, object] = {"rank": 3, "version": OURS, "uuid": "u", "status": 1, "hostname": "h3", **changes}
    return HelloRequest(**fields)  # type: ignore[arg-type]


def owner() -> Message:
    return Message(REQUEST, "overlay.hello", rolemask=ROLE_OWNER)


def test_a_child_of_ours_is_accepted() -> None:
    check_hello(owner(), hello(), "h3", OURS)
    check_hello(owner(), hello(version=pack_version("0.88.7")), "h3", OURS)
    check_hello(owner(), hello(hostname=""), "h3", OURS)
    check_hello(owner(), hello(), "", OURS)


@pytest.mark.parametrize(
    ("changes", "host", "errnum", "text"),
    [
        ({}, None, errno.EINVAL, "rank 3 is not a child of this broker"),
        ({"hostname": "x9"}, "h3", errno.EINVAL, "rank 3 runs on x9, expected h3"),
        (
            {"version": pack_version("0.87.0")},
            "h3",
            errno.EINVAL,
            r"client \(0.87.0\) version mismatched with server \(0.88.0\)",
        ),
    ],
)
def test_others_are_refused_with_the_reason(changes: dict[str, object], host: str, errnum: int, text: str) -> None:
    with pytest.raises(FluxError, match=text) as caught:
        check_hello(owner(), hello(**changes), host, OURS)
    assert caught.value.errno == errnum


def test_only_the_owner_may_join() -> None:
    with pytest.raises(PermissionError):
        check_hello(Message(REQUEST, "overlay.hello", rolemask=ROLE_USER), hello(), "h3", OURS)


@given(st.tuples(st.integers(0, 99), st.integers(0, 255), st.integers(0, 255)))
def test_versions_round_trip(version: tuple[int, int, int]) -> None:
    text = ".".join(map(str, version))
    assert version_text(pack_version(text)) == text
    assert pack_version(text + "-12-gabc") == pack_version(text)


def test_a_version_that_is_none_is_named() -> None:
    with pytest.raises(FluxError, match="master"):
        pack_version("master")


def test_status_of_a_leaf_is_full() -> None:
    assert Peers((), 0.0).status is Status.FULL


def test_status_follows_the_children() -> None:
    peers = Peers([1, 2], 10.0)
    assert peers.status is Status.PARTIAL
    one = peers.connected(1, "u1", Status.FULL, 5, 11.0)
    two = peers.connected(2, "u2", Status.FULL, 6, 12.0)
    assert (peers.status, peers.since) == (Status.FULL, 12.0)
    assert peers.changed(two, Status.PARTIAL, 13.0)
    assert not peers.changed(two, Status.PARTIAL, 14.0)
    assert peers.status is Status.PARTIAL
    peers.gone(one, Status.LOST, "connection closed", 15.0)
    assert peers.status is Status.DEGRADED
    peers.gone(two, Status.OFFLINE, "", 16.0)
    health = peers.as_health(0, 20.0)
    assert health["status"] == "degraded"
    assert health["duration"] == 5.0
    assert health["children"][0] == {"rank": 1, "status": "lost", "duration": 5.0, "error": "connection closed"}
    assert health["children"][1] == {"rank": 2, "status": "offline", "duration": 4.0}


def test_silent_children_are_flagged_once() -> None:
    peers = Peers([1, 2], 0.0)
    peers.connected(1, "u1", Status.FULL, 5, 0.0)
    two = peers.connected(2, "u2", Status.FULL, 6, 0.0)
    two.last_seen = 25.0
    assert [peer.rank for peer in peers.silent(31.0, 30.0)] == [1]
    assert peers.silent(32.0, 30.0) == []


@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["hello", "bye", "lost", "report"]), st.integers(0, 5))))
def test_peers_stay_consistent(steps: list[tuple[int, str, int]]) -> None:
    peers = Peers([1, 2, 3, 4], 0.0)
    for now, (rank, what, number) in enumerate(steps, 1):
        peer = peers.by_rank[rank]
        if what == "hello":
            peers.connected(rank, f"u{rank}", Status(number), 10 + rank, now)
        elif not peer.status.online:
            continue
        elif what == "report":
            peers.changed(peer, Status(number), now)
        else:
            peers.gone(peer, Status.OFFLINE if what == "bye" else Status.LOST, "", now)
        assert {p.uuid for p in peers.by_rank.values() if p.status.online} == set(peers.online)
        assert all(peers.by_connection(p.connection) is p for p in peers.online.values())
        assert (peers.status is Status.FULL) == all(p.status is Status.FULL for p in peers.by_rank.values())
