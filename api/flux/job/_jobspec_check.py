"""What makes a jobspec valid: the general language (RFC 14) and version 1 (RFC 25).

Every check raises ValueError or TypeError with the path of the field that is wrong, what is wrong with it,
and what would be right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["TOP_LEVEL_KEYS", "check_jobspec", "check_v1", "walk"]

TOP_LEVEL_KEYS = frozenset({"resources", "tasks", "version", "attributes"})

_VERTEX_KEYS = frozenset({"type", "count", "unit", "with", "label", "exclusive", "id"})
_RANGE = re.compile(r"\[?[1-9][0-9]{0,8}(?:\+|[-,:+*^0-9]*)\]?")
_MAX_DEPTH = 32
_TASK_KEYS = frozenset({"command", "slot", "count", "attributes", "distribution"})
_TASK_COUNTS = ("per_slot", "total", "per_resource")
_V1_CHILDREN: dict[str, tuple[frozenset[str], ...]] = {
    "node": (frozenset({"slot"}),),
    "slot": (frozenset({"core"}), frozenset({"core", "gpu"})),
    "core": (frozenset(),),
    "gpu": (frozenset(),),
}


def check_jobspec(spec: Any) -> None:
    """Check what every version has in common (RFC 14)."""
    check_keys(spec, "jobspec", required=TOP_LEVEL_KEYS, allowed=TOP_LEVEL_KEYS)
    _check_type(spec["version"], int, "version")
    if spec["version"] < 1:
        raise ValueError(f"version: {spec['version']} must be >= 1")
    _check_list(spec["resources"], "resources")
    _check_list(spec["tasks"], "tasks")
    for path, vertex in _vertices(spec["resources"], "resources"):
        _check_vertex(vertex, path)
    for i, task in enumerate(spec["tasks"]):
        _check_task(task, f"tasks[{i}]")
    _check_attributes(spec["attributes"])


def check_v1(spec: Mapping[str, Any]) -> None:
    """Check what version 1 adds to check_jobspec(), which the caller has done."""
    if spec["version"] != 1:
        raise ValueError(f"version: expected 1, got {spec['version']}")
    for section in ("resources", "tasks"):
        if len(spec[section]) != 1:
            raise ValueError(f"{section}: version 1 takes exactly one, got {len(spec[section])}")
    _check_v1_resources(spec["resources"])
    slots = {vertex["label"]: count for _, vertex, count in walk(spec["resources"]) if vertex["type"] == "slot"}
    _check_v1_task(spec["tasks"][0], slots)
    _check_v1_attributes(spec["attributes"])


def walk(
    vertices: Iterable[dict[str, Any]], parent: dict[str, Any] | None = None, factor: int = 1
) -> Iterator[tuple[dict[str, Any] | None, dict[str, Any], int]]:
    """Yield (parent, vertex, count) depth first, parents first; count includes that of the ancestors."""
    for vertex in vertices:
        count = factor * _least(vertex["count"])
        yield parent, vertex, count
        yield from walk(vertex.get("with", ()), vertex, count)


def check_keys(value: Any, path: str, required: Iterable[str], allowed: Iterable[str]) -> None:
    """Check that ``value`` is an object with all of the required and only the allowed keys."""
    _check_type(value, Mapping, path)
    where = "" if path == "jobspec" else f"{path}: "
    for key in sorted(set(required) - value.keys()):
        raise ValueError(f"{where}Missing key ({key})")
    for key in sorted(value.keys() - set(allowed), key=str):
        raise ValueError(f"{where}Extraneous key ({key})")


def check_environment(value: Any, path: str = "attributes.system.environment") -> None:
    """Check an environment: names to strings, or to null for one to be unset."""
    _check_type(value, Mapping, path)
    for name, text in value.items():
        _check_type(text, (str, type(None)), f"{path}.{name}")


# --- the parts --------------------------------------------------------------------------------


def _vertices(vertices: Any, path: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    if depth > _MAX_DEPTH:
        raise ValueError(f"{path}: resources are nested more than {_MAX_DEPTH} deep")
    for i, vertex in enumerate(vertices):
        here = f"{path}[{i}]"
        yield here, vertex
        if "with" in vertex:
            _check_list(vertex["with"], f"{here}.with")
            yield from _vertices(vertex["with"], f"{here}.with", depth + 1)


def _check_vertex(vertex: Any, path: str) -> None:
    check_keys(vertex, path, required=("type", "count"), allowed=_VERTEX_KEYS)
    for key in ("type", "unit", "label", "id"):
        if key in vertex:
            _check_type(vertex[key], str, f"{path}.{key}")
    if "exclusive" in vertex:
        _check_type(vertex["exclusive"], bool, f"{path}.exclusive")
    if vertex["type"] == "slot" and "label" not in vertex:
        raise ValueError(f"{path}: Missing key (label), which a slot needs")
    _check_count(vertex["count"], f"{path}.count")


def _check_count(count: Any, path: str) -> None:
    """RFC 14: a number, a range or idset as text, or an object with min and perhaps max and operator."""
    if isinstance(count, str):
        if not _RANGE.fullmatch(count):
            raise ValueError(f"{path}: expected a range such as 2-8, 2+ or 2-16:2:*, got '{count}'")
        return
    if not isinstance(count, Mapping):
        _check_positive(count, path)
        return
    check_keys(count, path, required=("min",), allowed=("min", "max", "operator", "operand"))
    for key in count.keys() & {"min", "max", "operand"}:
        _check_positive(count[key], f"{path}.{key}")
    if count.get("operator", "+") not in ("+", "*", "^"):
        raise ValueError(f"{path}.operator: expected +, * or ^, got '{count['operator']}'")


def _check_task(task: Any, path: str) -> None:
    check_keys(task, path, required=("command", "slot", "count"), allowed=_TASK_KEYS)
    _check_type(task["slot"], str, f"{path}.slot")
    _check_command(task["command"], f"{path}.command")
    check_keys(task["count"], f"{path}.count", required=(), allowed=_TASK_COUNTS)
    if len(task["count"]) != 1:
        raise ValueError(f"{path}.count: expected one of {', '.join(_TASK_COUNTS)}, got {dict(task['count'])}")
    for key in ("per_slot", "total"):
        if key in task["count"]:
            _check_positive(task["count"][key], f"{path}.count.{key}")


def _check_command(command: Any, path: str) -> None:
    if isinstance(command, str):
        command = [command]
    _check_list(command, path)
    for i, arg in enumerate(command):
        _check_type(arg, str, f"{path}[{i}]")


def _check_attributes(attributes: Any) -> None:
    if attributes is None:
        return
    check_keys(attributes, "attributes", required=(), allowed=("system", "user"))
    for key, value in attributes.items():
        _check_type(value, Mapping, f"attributes.{key}")


# --- version 1 --------------------------------------------------------------------------------


def _check_v1_resources(resources: Any) -> None:
    if resources[0]["type"] not in ("node", "slot"):
        raise ValueError(f"resources[0].type: expected node or slot, got '{resources[0]['type']}'")
    for path, vertex in _vertices(resources, "resources"):
        _check_v1_vertex(vertex, path)


def _check_v1_vertex(vertex: Mapping[str, Any], path: str) -> None:
    if vertex["type"] not in _V1_CHILDREN:
        raise ValueError(f"{path}.type: expected node, slot, core or gpu, got '{vertex['type']}'")
    _check_positive(vertex["count"], f"{path}.count")
    children = [child["type"] for child in vertex.get("with", ())]
    if len(set(children)) != len(children) or frozenset(children) not in _V1_CHILDREN[vertex["type"]]:
        expected = " or ".join("+".join(sorted(s)) or "nothing" for s in _V1_CHILDREN[vertex["type"]])
        raise ValueError(f"{path}: a {vertex['type']} contains {expected}, got {'+'.join(children) or 'nothing'}")


def _check_v1_task(task: Mapping[str, Any], slots: Mapping[str, int]) -> None:
    if task["slot"] not in slots:
        raise ValueError(f"tasks[0].slot: no slot in resources is labelled '{task['slot']}'")
    (key, value), *_ = task["count"].items()
    if key == "per_resource":
        raise ValueError("tasks[0].count.per_resource: version 1 takes per_slot or total")
    if key == "per_slot" and value != 1:
        raise ValueError(f"tasks[0].count.per_slot: expected 1, got {value}")
    if key == "total" and value > slots[task["slot"]]:
        raise ValueError(f"tasks[0].count.total: {value} tasks do not fit in {slots[task['slot']]} slots")


def _check_v1_attributes(attributes: Any) -> None:
    if attributes is None or "system" not in attributes:
        raise ValueError("attributes.system is a required key")
    system = attributes["system"]
    if "duration" not in system:
        raise ValueError("attributes.system.duration is a required key")
    _check_number(system["duration"], "attributes.system.duration")
    if "preemptible-after" in system:
        _check_number(system["preemptible-after"], "attributes.system.preemptible-after")
    for key in ("cwd", "queue", "bank", "project"):
        if key in system:
            _check_type(system[key], str, f"attributes.system.{key}")
    for key in ("constraints", "job", "shell", "files"):
        if key in system:
            _check_type(system[key], Mapping, f"attributes.system.{key}")
    if "constraints" in system:
        _check_constraints(system["constraints"])
    if "environment" in system:
        check_environment(system["environment"])
    _check_dependencies(system.get("dependencies", []))
    if "options" in system.get("shell", {}):
        _check_type(system["shell"]["options"], Mapping, "attributes.system.shell.options")


def _check_constraints(constraints: Mapping[str, Any]) -> None:
    from flux.resource.constraint import check_constraint

    try:
        check_constraint(constraints)
    except (ValueError, TypeError) as exc:
        raise ValueError(f"attributes.system.constraints: {exc}") from None


def _check_dependencies(dependencies: Any) -> None:
    path = "attributes.system.dependencies"
    _check_type(dependencies, list, path)
    for i, dependency in enumerate(dependencies):
        _check_type(dependency, Mapping, f"{path}[{i}]")
        for key in ("scheme", "value"):
            if key not in dependency:
                raise ValueError(f"{path}[{i}]: Missing key ({key})")
            _check_type(dependency[key], str, f"{path}[{i}].{key}")


# --- single values ----------------------------------------------------------------------------

_TYPE_NAMES: dict[Any, str] = {
    Mapping: "an object",
    list: "a list",
    str: "a string",
    int: "an integer",
    bool: "a boolean",
    (str, type(None)): "a string or null",
}


def _check_type(value: Any, types: Any, path: str) -> None:
    if not isinstance(value, types) or (types is int and isinstance(value, bool)):
        raise TypeError(f"{path}: expected {_TYPE_NAMES[types]}, got {value!r:.60}")


def _check_list(value: Any, path: str) -> None:
    _check_type(value, list, path)
    if not value:
        raise ValueError(f"{path}: must not be empty")


def _check_positive(value: Any, path: str) -> None:
    _check_type(value, int, path)
    if value < 1:
        raise ValueError(f"{path}: must be > 0, got {value}")


def _check_number(value: Any, path: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{path}: expected a number of seconds, got {value!r:.60}")
    if not value >= 0:
        raise ValueError(f"{path}: must be >= 0, got {value}")


def _least(count: Any) -> int:
    if isinstance(count, Mapping):
        return int(count["min"])
    if isinstance(count, str):
        return int(re.findall("[0-9]+", count)[0])
    return int(count)
