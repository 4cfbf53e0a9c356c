"""Why a request cannot be met, ever or now, in words for people."""

from __future__ import annotations

from collections.abc import Collection

from flux.allocation.node import Node, choose, slots_in
from flux.allocation.request import ResourceRequest

__all__ = ["Unsatisfiable", "check", "shortage"]


class Unsatisfiable(Exception):
    """More was asked for than there is, or than can ever match; the text says what and how much there is."""


def check(request: ResourceRequest, nodes: Collection[Node]) -> None:
    """Raise Unsatisfiable when these nodes, idle and all of them up, would not be enough."""
    where = "the instance has" if request.constraint is None else "those that match the constraint have"
    if request.nnodes:
        _check_nodes(request, nodes, where)
    else:
        _check_slots(request, nodes, where)


def shortage(request: ResourceRequest, nodes: Collection[Node]) -> str:
    """Why a request that these nodes could meet has to wait."""
    up = [node for node in nodes if node.up]
    if choose([node.emptied() for node in up], request) is None:
        unusable = len(nodes) - len(up)
        are = "is" if unusable == 1 else "are"
        return f"insufficient resources: {_whole(request)} asked, {_plural(unusable, 'node')} {are} down or drained"
    if choose(up, request) is not None:
        return f"{_whole(request)} asked, free but kept for jobs ahead of it"
    cores = sum(node.free_cores.bit_count() for node in up)
    gpus = sum(node.free_gpus.bit_count() for node in up)
    idle = f", {sum(node.idle for node in up)} idle" if request.exclusive else ""
    free = f"{_amount(cores, gpus, request.gpus > 0)} free on {_plural(len(up), 'node')}{idle}"
    return f"insufficient resources: {_whole(request)} asked, {free}"


def _whole(request: ResourceRequest) -> str:
    if not request.nnodes:
        return _asked(request)
    nodes = f"{_plural(request.nnodes, 'exclusive node' if request.exclusive else 'node')}"
    return f"{nodes} with {_asked(request)} each"


def _check_slots(request: ResourceRequest, nodes: Collection[Node], where: str) -> None:
    fitting = sum(slots_in(node.cores, node.gpus, request) for node in nodes)
    if fitting >= request.slots:
        return
    room = "" if _simple(request) else f"room for {fitting}: "
    raise Unsatisfiable(f"unsatisfiable request: {_asked(request)} asked, {where} {room}{_total(nodes, request)}")


def _check_nodes(request: ResourceRequest, nodes: Collection[Node], where: str) -> None:
    if len(nodes) < request.nnodes:
        raise Unsatisfiable(f"unsatisfiable request: {_plural(request.nnodes, 'node')} asked, {where} {len(nodes)}")
    fitting = sum(slots_in(node.cores, node.gpus, request) >= request.slots for node in nodes)
    if fitting < request.nnodes:
        raise Unsatisfiable(
            f"unsatisfiable request: {_plural(request.nnodes, 'node')} with {_asked(request)} each asked, "
            f"{where} {fitting} such: {_total(nodes, request)} in all"
        )


def _simple(request: ResourceRequest) -> bool:
    return (request.cores, request.gpus) == (1, 0)


def _asked(request: ResourceRequest) -> str:
    if _simple(request):
        return _plural(request.slots, "core")
    return f"{_plural(request.slots, 'slot')} of {_amount(request.cores, request.gpus, request.gpus > 0)}"


def _total(nodes: Collection[Node], request: ResourceRequest) -> str:
    cores = sum(node.cores.bit_count() for node in nodes)
    gpus = sum(node.gpus.bit_count() for node in nodes)
    return f"{_amount(cores, gpus, request.gpus > 0)} on {_plural(len(nodes), 'node')}"


def _amount(cores: int, gpus: int, with_gpus: bool) -> str:
    return _plural(cores, "core") + (f" and {_plural(gpus, 'gpu')}" if with_gpus else "")


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
