"""The order in which plugins start: a topological sort that is stable and prefers low priorities. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

__all__ = ["start_order"]


def start_order(
    names: Sequence[str], after: Mapping[str, set[str]], priority: Mapping[str, Any]
) -> tuple[list[str], list[list[str]]]:
    """Sort `names` so that each comes after all of `after[name]`.

    Where that leaves a choice, the lower `priority` (any comparable, unique per name) goes first.

    Returns:
        The order, and the circles found, each as [a, b, ..., a] where a starts after b and so on.
        With circles there is no order: the list is empty.
    """
    waiting = {name: set(after.get(name, ())) & set(names) for name in names}
    circles = _circles(waiting, priority)
    order: list[str] = []
    if circles:
        return order, circles
    sorter = TopologicalSorter(waiting)
    sorter.prepare()
    ready: list[tuple[Any, str]] = []
    while sorter.is_active():
        for name in sorter.get_ready():
            heapq.heappush(ready, (priority[name], name))
        order.append(heapq.heappop(ready)[1])
        sorter.done(order[-1])
    return order, circles


def _circles(waiting: Mapping[str, set[str]], priority: Mapping[str, Any]) -> list[list[str]]:
    """Circles without a common member, until none is left; each begins with its lowest priority."""
    try:
        TopologicalSorter(waiting).prepare()
    except CycleError as exc:
        circle = exc.args[1][:0:-1]
        first = circle.index(min(circle, key=priority.__getitem__))
        rest = {name: needed.difference(circle) for name, needed in waiting.items() if name not in circle}
        found = [*circle[first:], *circle[:first], circle[first]]
        return sorted([found, *_circles(rest, priority)], key=lambda members: priority[members[0]])
    return []
