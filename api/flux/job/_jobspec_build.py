"""The resources, tasks and files of a version 1 jobspec, made from what a person asks for (RFC 25, RFC 37)."""

from __future__ import annotations

from collections.abc import Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["file_entry", "per_resource_resources", "slot_resources", "task"]

SLOT = "task"


def slot_resources(
    slots: int, cores: int, gpus: int | None, nodes: int | None, exclusive: bool
) -> list[dict[str, Any]]:
    """Resources for ``slots`` slots of ``cores`` cores and ``gpus`` GPUs, spread over ``nodes`` nodes."""
    _positive(slots, "task or slot count")
    _positive(cores, "cores per task or slot")
    if gpus is not None and (isinstance(gpus, bool) or not isinstance(gpus, int) or gpus < 0):
        raise ValueError(f"gpus per task or slot must be an integer >= 0, got {gpus!r}")
    if nodes is None:
        if exclusive:
            raise ValueError("exclusive needs a node count")
        return [_slot(slots, cores, gpus)]
    _positive(nodes, "node count")
    if nodes > slots:
        raise ValueError(f"node count must not be greater than task count ({nodes} > {slots})")
    return [_node(nodes, _slot(-(-slots // nodes), cores, gpus), exclusive)]


def per_resource_resources(
    cores: int | None, nodes: int | None, gpus_per_node: int | None, exclusive: bool
) -> list[dict[str, Any]]:
    """Resources for a job that says how many cores or whole nodes it wants, in place of slots."""
    if nodes is None:
        if gpus_per_node or exclusive:
            raise ValueError("gpus_per_node and exclusive need nnodes")
        return [_slot(_positive(cores, "ncores"), 1, None)]
    _positive(nodes, "nnodes")
    if cores is None and not exclusive:
        raise ValueError("nnodes needs ncores or exclusive")
    cores = nodes if cores is None else _positive(cores, "ncores")
    if cores % nodes:
        raise ValueError(f"ncores must be a multiple of nnodes, got {cores} and {nodes}")
    return [_node(nodes, _slot(1, cores // nodes, gpus_per_node), exclusive)]


def task(command: list[str], tasks: int, nodes: int | None) -> dict[str, Any]:
    """The one task: one per slot, or a total when ``tasks`` is no multiple of ``nodes``."""
    uneven = nodes is not None and tasks % nodes != 0
    return {"command": command, "slot": SLOT, "count": {"total": tasks} if uneven else {"per_slot": 1}}


def file_entry(data: str | Mapping[str, Any], perms: int, encoding: str | None) -> dict[str, Any]:
    """An RFC 37 file: a mapping (kept as JSON), content (with a newline or an encoding), or the path of a file."""
    import stat
    from pathlib import Path

    if isinstance(data, Mapping):
        return {"mode": stat.S_IFREG | perms, "data": dict(data)}
    if encoding not in (None, "utf-8", "base64"):
        raise ValueError(f"file encoding: expected utf-8 or base64, got '{encoding}'")
    if "\n" in data or encoding:
        return {"mode": stat.S_IFREG | perms, "data": data, "encoding": encoding or "utf-8"}
    content = Path(data).read_bytes()
    mode = stat.S_IFREG | (stat.S_IMODE(Path(data).stat().st_mode) or perms)
    text, encoding = _encoded(content)
    return {"mode": mode, "size": len(content), "data": text, "encoding": encoding}


def _encoded(content: bytes) -> tuple[str, str]:
    try:
        return content.decode(), "utf-8"
    except UnicodeDecodeError:
        from base64 import b64encode

        return b64encode(content).decode(), "base64"


def _slot(count: int, cores: int, gpus: int | None) -> dict[str, Any]:
    children = [{"type": "core", "count": cores}]
    if gpus:
        children.append({"type": "gpu", "count": gpus})
    return {"type": "slot", "count": count, "with": children, "label": SLOT}


def _node(count: int, slot: dict[str, Any], exclusive: bool) -> dict[str, Any]:
    node: dict[str, Any] = {"type": "node", "count": count}
    if exclusive:
        node["exclusive"] = True
    return node | {"with": [slot]}


def _positive(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{what} must be an integer > 0, got {value!r}")
    return value
