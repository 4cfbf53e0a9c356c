"""Which tasks run where: from jobspec and R (RFC 25, 20) to the number of tasks of each shell. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from flux.idset import IDset
from flux_shell.option_names import misnamed

__all__ = ["LayoutError", "Node", "count_tasks", "least_count", "nodes_of"]

_PER_RESOURCE = ("type", "count")


class LayoutError(ValueError):
    """Jobspec or R does not say what the shell has to start."""


class Node(NamedTuple):
    """A node of the job.

    Attributes:
        rank: of its broker. cores, gpus: idset strings of what the job has there.
    """

    rank: int
    cores: str
    gpus: str

    @property
    def ncores(self) -> int:
        return len(IDset(self.cores))


def nodes_of(r: Mapping[str, Any]) -> list[Node]:
    """The nodes of a resource set, in the order of their ranks. LayoutError when R is malformed."""
    try:
        nodes = [
            Node(rank, entry["children"].get("core", ""), entry["children"].get("gpu", ""))
            for entry in r["execution"]["R_lite"]
            for rank in IDset(entry["rank"])
        ]
    except (KeyError, TypeError, AttributeError, ValueError) as exc:
        raise LayoutError(f"R has no valid execution.R_lite: {type(exc).__name__}: {exc}") from None
    if not nodes:
        raise LayoutError("R holds no resources")
    return sorted(nodes)


class Slot(NamedTuple):
    """What the jobspec says of task slots.

    Attributes:
        slots: in each node when per_node, else of the job: the least number of them when they are a range.
        cores: cores of each slot. nodes: nodes of each slot, 0 when a slot is part of a node.
    """

    slots: int
    per_node: bool
    cores: int
    nodes: int
    is_range: bool = False


def count_tasks(jobspec: Mapping[str, Any], nodes: Sequence[Node], options: Mapping[str, Any]) -> list[int]:
    """The number of tasks on each node. LayoutError when jobspec cannot be satisfied with these nodes.

    Args:
        options: shell options; `per-resource` {type: node|core, count} replaces what jobspec says.
    """
    if "per-resource" in options:
        return _per_resource(options["per-resource"], nodes)
    try:
        slot = _find_slot(jobspec["resources"], 1, False)
        count = jobspec["tasks"][0]["count"]
    except (KeyError, IndexError, TypeError, AttributeError) as exc:
        raise LayoutError(f"jobspec is not version 1: {type(exc).__name__}: {exc}") from None
    if slot is None:
        raise LayoutError("jobspec has no task slot")
    slots = _slots(slot, nodes)
    if "per_slot" in count:
        return [n * int(count["per_slot"]) for n in slots]
    if "total" in count:
        return _deal(int(count["total"]), slots)
    raise LayoutError(f"tasks[0].count must have per_slot or total, not {', '.join(count) or 'nothing'}")


def _find_slot(
    resources: Sequence[Mapping[str, Any]], outer: int, in_node: bool, in_range: bool = False
) -> Slot | None:
    for res in resources:
        kind, count = res["type"], least_count(res.get("count", 1))
        is_range = in_range or not isinstance(res.get("count", 1), int)
        if kind == "slot":
            inner = dict(_inside(res.get("with", ()), 1))
            nodes = inner.get("node", 0)
            return Slot(count if in_node else outer * count, in_node, inner.get("core", 0), nodes, is_range)
        found = _find_slot(res.get("with", ()), outer * count, in_node or kind == "node", is_range)
        if found is not None:
            return found
    return None


def _inside(resources: Sequence[Mapping[str, Any]], outer: int) -> Iterator[tuple[str, int]]:
    for res in resources:
        count = outer * least_count(res.get("count", 1))
        yield res["type"], count
        yield from _inside(res.get("with", ()), count)


def least_count(count: Any) -> int:
    """A resource count: an integer, or the least of a range (RFC 14)."""
    if isinstance(count, Mapping):
        count = count["min"]
    if isinstance(count, str):
        count = IDset(count).first()
    return int(count)


def _slots(slot: Slot, nodes: Sequence[Node]) -> list[int]:
    if slot.per_node:
        return [slot.slots] * len(nodes)
    if slot.nodes:
        return [int(i % slot.nodes == 0) for i in range(len(nodes))]
    if not slot.cores:
        return _deal(slot.slots, [node.ncores for node in nodes])
    room = [node.ncores // slot.cores for node in nodes]
    return room if slot.is_range or sum(room) <= slot.slots else _deal(slot.slots, room)


def _per_resource(option: Any, nodes: Sequence[Node]) -> list[int]:
    if not isinstance(option, Mapping) or option.get("type") not in ("node", "core"):
        raise LayoutError(f"shell option per-resource needs a type, node or core: {option!r:.60}")
    if error := misnamed("per-resource", option, _PER_RESOURCE):
        raise LayoutError(error)
    count = option.get("count", 1)
    if type(count) is not int or count < 1:
        raise LayoutError(f"shell option per-resource.count={count!s:.60}: a number above 0 was expected")
    return [count if option["type"] == "node" else count * node.ncores for node in nodes]


def _deal(total: int, capacities: Sequence[int]) -> list[int]:
    """Spread total tasks evenly; no node gets more than its capacity while another has room."""
    counts = [0] * len(capacities)
    while total > 0:
        room = [i for i, count in enumerate(counts) if count < capacities[i]]
        share = total // (len(room) or len(counts))
        if room and share:
            share = min(share, *(capacities[i] - counts[i] for i in room))
        for i in (room or range(len(counts)))[: None if share else total]:
            counts[i] += share or 1
            total -= share or 1
    return counts
