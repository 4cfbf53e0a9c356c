"""Where brokers listen and connect."""

from __future__ import annotations

import pytest

from flux.errors import FluxError
from flux.hostlist import Hostlist
from flux.taskmap import TaskMap
from flux_plugins.overlay.card import Card, gather_hosts, read_card
from flux_plugins.overlay.settings import Settings
from flux_plugins.zeromq.address import (
    choose_endpoint,
    ipc_endpoint,
    listen_address,
    tcp_endpoint,
    transports,
)


class Attrs(dict[str, str]):
    def set(self, name: str, value: str, *, immutable: bool = False) -> None:
        self[name] = value


@pytest.mark.parametrize(
    ("near", "children", "known", "prefer_tcp", "expected"),
    [
        (0, 0, True, False, []),
        (3, 3, True, False, ["ipc"]),
        (0, 3, True, False, ["tcp"]),
        (1, 3, True, False, ["tcp", "ipc"]),
        (0, 3, False, False, ["tcp", "ipc"]),
        (3, 3, True, True, ["tcp"]),
    ],
)
def test_transports(near: int, children: int, known: bool, prefer_tcp: bool, expected: list[str]) -> None:
    assert transports(near, children, known, prefer_tcp) == expected


def test_children_on_the_same_host_use_ipc() -> None:
    uris = ["tcp://[::ffff:10.0.0.1]:99", "ipc:///run/tbon-0"]
    assert choose_endpoint(uris, True) == uris[1]
    assert choose_endpoint(uris, False) == uris[0]
    assert choose_endpoint(uris[:1], True) == uris[0]


@pytest.mark.parametrize("uris", [[], ["ipc:///run/tbon-0"]])
def test_no_way_to_the_parent_is_an_error(uris: list[str]) -> None:
    with pytest.raises(FluxError, match="parent broker"):
        choose_endpoint(uris, False)


def test_endpoints() -> None:
    assert ipc_endpoint("/run/x", 3) == "ipc:///run/x/tbon-3"
    assert ipc_endpoint("/run/" + "x" * 100, 3) is None
    assert tcp_endpoint("10.0.0.1") == "tcp://10.0.0.1:*"
    assert tcp_endpoint("fe80::1") == "tcp://[fe80::1]:*"


@pytest.mark.parametrize("hint", ["lo", "127.0.0.0/8"])
def test_interface_hint(hint: str) -> None:
    assert listen_address(hint) == "127.0.0.1"


@pytest.mark.parametrize(
    ("hint", "says"), [("nosuchif0", "no such interface"), ("240.0.0.0/24", "no address in it"), ("10.0.0.0/99", "99")]
)
def test_a_wrong_interface_hint_is_named(hint: str, says: str) -> None:
    with pytest.raises(FluxError, match=says):
        listen_address(hint)


def test_attributes_win_over_configuration_over_defaults() -> None:
    attrs = Attrs({"tbon.fanout": "3", "tbon.torpid_max": "1m"})
    got = Settings.read(attrs, {"tbon": {"torpid_min": "2s", "torpid_max": "9s", "prefertcp": True, "topo": "kary:9"}})  # type: ignore[arg-type]
    assert (got.shape, got.torpid_min, got.torpid_max, got.prefer_tcp) == ("kary:3", 2.0, 60.0, True)
    assert (got.connect_timeout, got.tcp_user_timeout, got.interface_hint) == (30.0, 20.0, "default-route")
    assert attrs["tbon.connect_timeout"] == "30s"


@pytest.mark.parametrize(("name", "value"), [("tbon.torpid_max", "soon"), ("tbon.prefertcp", "yes")])
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(FluxError, match=f"{name}={value}"):
        Settings.read(Attrs({name: value}), {})  # type: ignore[arg-type]


def test_hosts_are_asked_for_once_per_node() -> None:
    asked: list[int] = []

    def host_of(rank: int) -> str:
        asked.append(rank)
        return f"n{rank}"

    hosts = gather_hosts(6, TaskMap.block([2, 4]), host_of)
    assert list(Hostlist(hosts)) == ["n0", "n0", "n2", "n2", "n2", "n2"]
    assert asked == [0, 2]
    assert gather_hosts(3, None, host_of) == "n[0-2]"


def test_a_card_is_checked() -> None:
    card = {"host": "h", "pubkey": "k", "uri": []}
    assert read_card(lambda _rank: card, 4) == Card("h", "k", [])
    with pytest.raises(FluxError, match=r"card of rank 4.*pubkey"):
        read_card(lambda _rank: {"host": "h", "uri": []}, 4)
