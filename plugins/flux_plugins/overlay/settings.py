"""Settings of the overlay: broker attributes `tbon.*` first, then the [tbon] configuration, then defaults."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flux.errors import FluxError
from flux.hooks.kernel import AttributeTable
from flux.idset import IDset
from flux.util import parse_fsd
from flux_plugins.overlay.topology import DEFAULT_SHAPE

__all__ = ["Settings", "check_ranks", "duration"]

_DEFAULTS = {
    "tbon.torpid_min": "5s",
    "tbon.torpid_max": "30s",
    "tbon.tcp_user_timeout": "20s",
    "tbon.connect_timeout": "30s",
    "tbon.prefertcp": "0",
    "tbon.interface-hint": "default-route",
    "tbon.zmq_io_threads": "1",
    "tbon.reparent-timeout": "5s",
    "tbon.parent-timeout": "2m",
    "tbon.event-backlog": "1024",
    "tbon.queue-limit": "64",
}


@dataclass
class Settings:
    """What the overlay was told. Durations are in seconds.

    Attributes:
        shape: of the tree, as in `tbon.topo`.
        torpid_min: silence after which a sign of life is sent. torpid_max: after which a child is torpid; 0 never.
        tcp_user_timeout, connect_timeout: what TCP is given to deliver, and to connect.
        prefer_tcp: no ipc:// even on one host. interface_hint: which address to listen on.
        io_threads: of ZeroMQ.
        reparent_timeout: how long to look for another parent when the one there was is lost; 0 not at all.
        parent_timeout: silence after which a parent is taken for lost; 0 never.
        event_backlog: how many events are kept for children of other parents.
        queue_limit: bytes that a torpid child is sent before it is given up.
    """

    shape: str
    torpid_min: float
    torpid_max: float
    tcp_user_timeout: float
    connect_timeout: float
    prefer_tcp: bool
    interface_hint: str
    io_threads: int
    reparent_timeout: float
    parent_timeout: float
    event_backlog: int
    queue_limit: int

    @classmethod
    def read(cls, attrs: AttributeTable, conf: Mapping[str, Any], default_shape: str = DEFAULT_SHAPE) -> Settings:
        """Read the settings, and set the attributes that were not. FluxError EINVAL names the one that is wrong."""
        table = conf.get("tbon", {})
        shape = _shape(attrs, table) or default_shape
        text = {name: _text(name, attrs, table) for name in _DEFAULTS}
        for name, value in text.items():
            if attrs.get(name) is None:
                attrs.set(name, value, immutable=name == "tbon.interface-hint")
        return cls(
            shape,
            duration("tbon.torpid_min", text["tbon.torpid_min"]),
            duration("tbon.torpid_max", text["tbon.torpid_max"]),
            duration("tbon.tcp_user_timeout", text["tbon.tcp_user_timeout"]),
            duration("tbon.connect_timeout", text["tbon.connect_timeout"]),
            _number("tbon.prefertcp", text["tbon.prefertcp"]) != 0,
            text["tbon.interface-hint"],
            max(1, _number("tbon.zmq_io_threads", text["tbon.zmq_io_threads"])),
            duration("tbon.reparent-timeout", text["tbon.reparent-timeout"]),
            duration("tbon.parent-timeout", text["tbon.parent-timeout"]),
            max(0, _number("tbon.event-backlog", text["tbon.event-backlog"])),
            max(1, _number("tbon.queue-limit", text["tbon.queue-limit"])) << 20,
        )


def _text(name: str, attrs: AttributeTable, table: Mapping[str, Any]) -> str:
    value = attrs.get(name)
    if value is None:
        value = table.get(name.removeprefix("tbon."))
    return _DEFAULTS[name] if value is None else str(int(value) if isinstance(value, bool) else value)


def _shape(attrs: AttributeTable, table: Mapping[str, Any]) -> str:
    """The shape that was asked for, "" when none was."""
    shape = attrs.get("tbon.topo")
    fanout = attrs.get("tbon.fanout")
    if shape is None and fanout is not None:
        shape = f"kary:{fanout}"
    return shape or str(table.get("topo", ""))


def duration(name: str, text: str) -> float:
    """A Flux Standard Duration in seconds. FluxError EINVAL names the setting."""
    try:
        return parse_fsd(text)
    except ValueError as exc:
        raise FluxError(errno.EINVAL, f"{name}={text}: {exc}") from None


def check_ranks(name: str, text: str, size: int) -> None:
    """Check that text is an idset of ranks of an instance. FluxError EINVAL names the setting."""
    try:
        is_wrong = not IDset(text).issubset(range(size))
    except ValueError:
        is_wrong = True
    if is_wrong:
        raise FluxError(errno.EINVAL, f"{name}={text}: it takes an idset of ranks below {size}")


def _number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise FluxError(errno.EINVAL, f"{name}={text}: it takes a number") from None
