"""What a job asks for, read from its jobspec: slots of cores and GPUs, perhaps on a number of nodes (RFC 25)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = ["ResourceRequest", "read_jobspec"]

_GRAPHS = "slot or node>slot at the top, with core and perhaps gpu below"


class ResourceRequest(msgspec.Struct, frozen=True):
    """Counts of a request.

    Attributes:
        nnodes: number of nodes; 0 when any number will do.
        slots: slots on each node, or in all when nnodes is 0.
        cores, gpus: of each slot.
        exclusive: whole nodes, whatever else they hold.
        duration: seconds; 0 for as long as there are resources.
        constraint: RFC 31 object, or None.
    """

    nnodes: int
    slots: int
    cores: int
    gpus: int = 0
    exclusive: bool = False
    duration: float = 0.0
    constraint: dict[str, Any] | None = None

    @property
    def nslots(self) -> int:
        """Number of slots in all."""
        return self.slots * (self.nnodes or 1)


def read_jobspec(jobspec: Mapping[str, Any]) -> ResourceRequest:
    """Counts of a jobspec of version 1. ValueError says what in it this scheduler cannot allocate."""
    try:
        resources = jobspec["resources"]
        system = (jobspec.get("attributes") or {}).get("system") or {}
        top = _only(resources)
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"jobspec has no resources that can be read: {exc}") from None
    node, slot = (top, _only(top.get("with"))) if top["type"] == "node" else (None, top)
    if slot["type"] != "slot":
        raise ValueError(f"resource '{slot['type']}' is not supported: this scheduler takes {_GRAPHS}")
    cores, gpus = _slot_contents(slot)
    return ResourceRequest(
        nnodes=0 if node is None else _count(node),
        slots=_count(slot),
        cores=cores,
        gpus=gpus,
        exclusive=bool(node is not None and node.get("exclusive")),
        duration=float(system.get("duration") or 0),
        constraint=system.get("constraints") or None,
    )


def _only(vertices: Any) -> dict[str, Any]:
    if not isinstance(vertices, list) or len(vertices) != 1:
        raise ValueError(f"resources: this scheduler takes {_GRAPHS}")
    vertex: dict[str, Any] = vertices[0]
    return vertex


def _slot_contents(slot: Mapping[str, Any]) -> tuple[int, int]:
    counts = {"core": 0, "gpu": 0}
    for vertex in slot.get("with") or ():
        if vertex["type"] not in counts or vertex.get("with"):
            raise ValueError(f"resource '{vertex['type']}' in a slot is not supported: this scheduler takes {_GRAPHS}")
        counts[vertex["type"]] += _count(vertex)
    if counts["core"] < 1:
        raise ValueError("a slot needs at least one core")
    return counts["core"], counts["gpu"]


def _count(vertex: Mapping[str, Any]) -> int:
    count = vertex["count"]
    if type(count) is not int or count < 1:
        raise ValueError(f"count of {vertex['type']}: this scheduler takes an integer >= 1, not {count!r:.60}")
    return count
