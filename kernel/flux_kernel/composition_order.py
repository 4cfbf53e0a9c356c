"""The order in which plugins start: a topological sort that is stable and prefers low priorities. Pure."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any


def start_order(
    names: Sequence[str], after: Mapping[str, set[str]], priority: Mapping[str, Any]
) -> tuple[list[str], list[list[str]]]:
    """Sort `names` so that each comes after all of `after[name]`.

    Where that leaves a choice, the lower `priority` (any comparable, unique per name) goes first.

    Returns:
        The order, and the circles found, each as [a, b, ..., a] where a starts after b and so on.
        Members of a circle, and what waits for them, are missing from the order.
    """
    waiting = {name: set(after.get(name, ())) & set(names) for name in names}
    followers: dict[str, list[str]] = {name: [] for name in names}
    for name, needed in waiting.items():
        for other in needed:
            followers[other].append(name)
    ready = [(priority[name], name) for name in names if not waiting[name]]
    heapq.heapify(ready)
    order = []
    while ready:
        _, name = heapq.heappop(ready)
        order.append(name)
        for follower in followers[name]:
            waiting[follower].discard(name)
            if not waiting[follower]:
                heapq.heappush(ready, (priority[follower], follower))
    placed = set(order)
    return order, _circles({name: needed for name, needed in waiting.items() if name not in placed}, priority)


def _circles(waiting: Mapping[str, set[str]], priority: Mapping[str, Any]) -> list[list[str]]:
    """The shortest circle through each name that is on one, unless an earlier one has shown it already."""
    circles: list[list[str]] = []
    shown: set[str] = set()
    for name in sorted(waiting, key=priority.__getitem__):
        circle = [] if name in shown else _circle_through(name, waiting, priority)
        if circle:
            circles.append(circle)
            shown.update(circle)
    return circles


def _circle_through(start: str, waiting: Mapping[str, set[str]], priority: Mapping[str, Any]) -> list[str]:
    paths = deque([[start]])
    visited: set[str] = set()
    while paths:
        path = paths.popleft()
        for name in sorted(waiting[path[-1]], key=priority.__getitem__):
            if name == start:
                return [*path, start]
            if name in waiting and name not in visited:
                visited.add(name)
                paths.append([*path, name])
    return []
