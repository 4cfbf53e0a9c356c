"""The resource eventlog of earlier runs (RFC 44): what of it concerns this one, and what of it is kept. Pure."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flux.errors import FluxError
from flux.eventlog import Event
from flux.hostlist import Hostlist
from flux.idset import IDset
from flux_plugins.resource.status import Status

__all__ = ["history_limit", "replay", "trimmed", "with_ranks_of"]

DRAINS = ("drain", "undrain")
_DEFAULT = 90 * 86400.0


def history_limit(table: Mapping[str, Any]) -> float:
    """`history` of the table [resource]: for how many seconds events are kept. FluxError EINVAL when it is no time."""
    if "history" not in table:
        return _DEFAULT
    from flux.util import parse_fsd

    try:
        return parse_fsd(str(table["history"]))
    except ValueError as exc:
        raise FluxError(errno.EINVAL, f"[resource] history: {exc}") from None


def with_ranks_of(events: Iterable[Event], hosts: Sequence[str]) -> list[Event]:
    """The drains and undrains among events, with the ranks that their hosts have now.

    Args:
        hosts: host name of each rank.
    """
    return [moved for event in events if event.name in DRAINS and (moved := _moved(event, hosts))]


def _moved(event: Event, hosts: Sequence[str]) -> Event | None:
    """The event, or one that says where its hosts are now; None when they are gone."""
    ranks, names = list(IDset(event.context["idset"])), list(Hostlist(event.context.get("nodelist", "")))
    if len(ranks) != len(names) or all(
        rank < len(hosts) and hosts[rank] == name for rank, name in _pairs(ranks, names)
    ):
        return event
    now = IDset()
    for rank, name in _pairs(ranks, names):
        if rank < len(hosts) and hosts[rank] == name:
            now.set(rank)
        elif name in hosts:
            now.set(hosts.index(name))
    if not now:
        return None
    context = {**event.context, "idset": str(now), "nodelist": str(Hostlist([hosts[rank] for rank in now]))}
    return Event(event.timestamp, event.name, context)


def _pairs(ranks: list[int], names: list[str]) -> Iterable[tuple[int, str]]:
    return zip(ranks, names, strict=True)


def replay(events: Iterable[Event], status: Status) -> None:
    """Drain what events say; what is excluded is not drained."""
    for event in events:
        ranks, context = IDset(event.context["idset"]), event.context
        if event.name == "drain":
            overwrite = context.get("overwrite", 0)
            status.apply_drain(ranks - status.excluded, event.timestamp, context.get("reason"), overwrite)
        elif event.name == "undrain":
            status.apply_undrain(ranks)


def trimmed(events: Sequence[Event], before: float) -> list[Event]:
    """The same without what is older, in seconds since the epoch; of that, drains that still held then are left."""
    old = [event for event in events if event.timestamp < before]
    status, names = Status(IDset()), {}
    for event in old:
        if event.name in DRAINS:
            ranks = IDset(event.context["idset"])
            names.update(zip(ranks, Hostlist(event.context.get("nodelist", "")), strict=False))
    replay([event for event in old if event.name in DRAINS], status)
    drains = []
    for text, info in status.drained_by_reason().items():
        nodelist = str(Hostlist([names.get(rank, "") for rank in IDset(text)]))
        reason = {"reason": info["reason"]} if info["reason"] else {}
        context = {"idset": text, "nodelist": nodelist, **reason, "overwrite": 0}
        drains.append(Event(info["timestamp"], "drain", context))
    return [*sorted(drains, key=lambda event: event.timestamp), *events[len(old) :]]
