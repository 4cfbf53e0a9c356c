"""flux.job.Jobspec: what the makers produce, what is refused and how it is said."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.job import Jobspec, JobspecV1, validate_jobspec


def v1(**kwargs: Any) -> dict[str, Any]:
    """A valid jobspec as a dict: 3 tasks of 2 cores and a GPU over 2 nodes."""
    jobspec = JobspecV1.from_command(
        ["app"], num_tasks=3, cores_per_task=2, gpus_per_task=1, num_nodes=2, environment={}, **kwargs
    )
    decoded: dict[str, Any] = json.loads(jobspec.dumps())
    return decoded


def test_layout_of_a_command() -> None:
    assert v1() == {
        "resources": [
            {
                "type": "node",
                "count": 2,
                "with": [
                    {
                        "type": "slot",
                        "count": 2,
                        "with": [{"type": "core", "count": 2}, {"type": "gpu", "count": 1}],
                        "label": "task",
                    }
                ],
            }
        ],
        "tasks": [{"command": ["app"], "slot": "task", "count": {"total": 3}}],
        "attributes": {"system": {"duration": 0, "environment": {}}},
        "version": 1,
    }


@given(st.integers(1, 40), st.integers(1, 8), st.integers(0, 4), st.none() | st.integers(1, 40), st.booleans())
def test_counts_hold_what_was_asked_for(tasks: int, cores: int, gpus: int, nodes: int | None, whole: bool) -> None:
    kwargs = {"num_tasks": tasks, "cores_per_task": cores, "gpus_per_task": gpus, "num_nodes": nodes}
    if (nodes or 0) > tasks or (whole and nodes is None):
        with pytest.raises(ValueError, match="node count"):
            JobspecV1.from_command(["app"], exclusive=whole, **kwargs)  # type: ignore[arg-type]
        return
    jobspec = JobspecV1.from_command(["app"], exclusive=whole, **kwargs)  # type: ignore[arg-type]
    counts = jobspec.resource_counts()
    assert counts.get("node") == nodes and tasks <= counts["slot"] < tasks + (nodes or 1)
    assert counts["core"] == counts["slot"] * cores and counts.get("gpu", 0) == counts["slot"] * gpus
    assert jobspec.tasks[0]["count"] in ({"total": tasks}, {"per_slot": 1})
    ok, again = validate_jobspec(jobspec.dumps())
    assert ok and again == jobspec and isinstance(again, JobspecV1)


def test_walk_goes_parents_first() -> None:
    walk = [(p and p["type"], r["type"], n) for p, r, n in JobspecV1.from_dict(v1()).resource_walk()]
    assert walk == [(None, "node", 2), ("node", "slot", 4), ("slot", "core", 8), ("slot", "gpu", 4)]


def test_documented_resource_counts() -> None:
    resources = [
        {
            "type": "slot",
            "count": 2,
            "label": "a",
            "with": [{"type": "core", "count": 4}, {"type": "memory", "count": 1}],
        },
        {
            "type": "slot",
            "count": 10,
            "label": "b",
            "with": [{"type": "core", "count": 1}, {"type": "memory", "count": 24}],
        },
    ]
    tasks = [{"command": "app", "slot": "a", "count": {"per_slot": 1}}]
    jobspec = Jobspec(resources, tasks, attributes=None, version=2)
    assert jobspec.resource_counts() == {"slot": 12, "core": 18, "memory": 242}
    assert validate_jobspec(jobspec)[1].version == 2
    with pytest.raises(ValueError, match="version: expected 1, got 2"):
        validate_jobspec(jobspec, require_version=1)


def test_per_resource() -> None:
    by_core = JobspecV1.per_resource(["a"], ncores=4, nnodes=2, per_resource_type="core", per_resource_count=1)
    assert by_core.resource_counts() == {"node": 2, "slot": 2, "core": 4}
    assert by_core.getattr("system.shell.options.per-resource") == {"type": "core", "count": 1}
    by_node = JobspecV1.per_resource(
        ["a"], nnodes=4, per_resource_type="node", per_resource_count=2, gpus_per_node=2, exclusive=True
    )
    assert by_node.resource_counts() == {"node": 4, "slot": 4, "core": 4, "gpu": 8}
    assert by_node.resources[0]["exclusive"] is True
    for kwargs, reason in [
        ({"nnodes": 2}, "ncores or exclusive"),
        ({"ncores": 3, "nnodes": 2}, "multiple"),
        ({}, "ncores must be"),
        ({"ncores": 1, "gpus_per_node": 1}, "need nnodes"),
        ({"ncores": 1, "per_resource_type": "gpu"}, "expected core or node"),
    ]:
        with pytest.raises(ValueError, match=reason):
            JobspecV1.per_resource(["a"], **kwargs)  # type: ignore[arg-type]


def test_batch_carries_its_script() -> None:
    jobspec = JobspecV1.from_batch_command(
        "#!/bin/sh\nhostname", "nightly", args=["x"], num_slots=2, num_nodes=1, broker_opts=["-Sa=b"]
    )
    assert jobspec.tasks[0]["command"] == ["flux", "broker", "-Sa=b", "{{tmpdir}}/script", "x"]
    assert jobspec.getattr("files.script") == {"mode": 0o100700, "data": "#!/bin/sh\nhostname", "encoding": "utf-8"}
    assert jobspec.name == "nightly"
    assert jobspec.getattr("shell.options") == {
        "per-resource": {"type": "node"},
        "mpi": "none",
        "exit-timeout": "none",
    }
    with pytest.raises(ValueError, match="'nightly' does not start with '#!'"):
        JobspecV1.from_batch_command("hostname\n", "nightly")


def test_nested_instance_with_a_configuration() -> None:
    jobspec = JobspecV1.from_nest_command([], num_slots=3, num_nodes=2, conf={"queues": {}})
    assert jobspec.tasks[0] == {
        "command": ["flux", "broker", "--config-path={{tmpdir}}/conf.json"],
        "slot": "task",
        "count": {"per_slot": 1},
    }
    assert jobspec.getattr("files")["conf.json"]["data"] == {"queues": {}}


def test_setters_put_attributes_where_rfc_14_wants_them() -> None:
    jobspec = JobspecV1.from_command(["a"], environment={"A": "1"})
    jobspec.duration = "1h"
    jobspec.queue, jobspec.name, jobspec.cwd = "debug", "n", Path("/tmp")
    jobspec.stdin, jobspec.stdout, jobspec.stderr = "in", Path("out"), "err"
    jobspec.unbuffered = True
    jobspec.setattr("zip", 1)
    jobspec.setattr("user.x.y", [1])
    jobspec.setattr("attributes.system.w", 2)
    jobspec.setattr_shell_option("a.b", True)
    buffer = {"buffer": {"type": "none"}}
    assert jobspec.attributes == {
        "system": {
            "duration": 3600.0,
            "environment": {"A": "1"},
            "queue": "debug",
            "job": {"name": "n"},
            "cwd": "/tmp",
            "zip": 1,
            "w": 2,
            "shell": {
                "options": {
                    "input": {"stdin": {"type": "file", "path": "in"}, "batch-timeout": 0.0},
                    "output": {
                        "stdout": {"type": "file", "path": "out"} | buffer,
                        "stderr": {"type": "file", "path": "err"} | buffer,
                        "batch-timeout": 0.05,
                    },
                    "a": {"b": True},
                }
            },
        },
        "user": {"x": {"y": [1]}},
    }
    assert (jobspec.stdin, jobspec.stdout, jobspec.stderr, jobspec.unbuffered) == ("in", "out", "err", True)
    assert (jobspec.duration, jobspec.queue, jobspec.cwd) == (3600, "debug", "/tmp")
    jobspec.duration = timedelta(minutes=1)
    assert jobspec.duration == 60 and validate_jobspec(jobspec)[0]


def test_setters_refuse_nonsense() -> None:
    jobspec = JobspecV1.from_command(["a"])
    with pytest.raises(ValueError, match="Flux standard duration 'soon'"):
        jobspec.duration = "soon"
    with pytest.raises(ValueError, match="finite"):
        jobspec.duration = -1
    with pytest.raises(TypeError, match=r"environment\.A: expected a string or null, got 1"):
        jobspec.environment = {"A": 1}  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="duration is 0, not an object"):
        jobspec.setattr("system.duration.x", 1)
    with pytest.raises(ValueError, match="dotted key"):
        jobspec.setattr("a..b", 1)
    with pytest.raises(TypeError, match="unknown option 'colour', expected one of bank, cwd"):
        JobspecV1.from_command(["a"], colour="red")
    with pytest.raises(TypeError, match="expected a list of strings"):
        JobspecV1.from_command("hostname")
    with pytest.raises(ValueError, match=r"tasks\[0\]\.command: must not be empty"):
        JobspecV1.from_command([])
    with pytest.raises(KeyError):
        jobspec.getattr("system.nosuch")


def test_the_environment_is_the_callers_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE_COLOUR", "green")
    environment = JobspecV1.from_command(["a"]).environment
    assert environment is not None and environment["SITE_COLOUR"] == "green"


def test_files(tmp_path: Path) -> None:
    jobspec = JobspecV1.from_command(["a"])
    script = tmp_path / "s.sh"
    script.write_text("echo\n")
    script.chmod(0o755)
    (tmp_path / "bin").write_bytes(b"\xff\x00")
    jobspec.add_file("s.sh", str(script))
    jobspec.add_file("bin", str(tmp_path / "bin"))
    jobspec.add_file("note", "hello\n")
    jobspec.add_file("given", "aGk=", encoding="base64")
    files = jobspec.getattr("system.files")
    assert files["given"] == {"mode": 0o100600, "data": "aGk=", "encoding": "base64"}
    assert files["s.sh"] == {"mode": 0o100755, "size": 5, "data": "echo\n", "encoding": "utf-8"}
    assert files["bin"]["data"] == "/wA=" and files["bin"]["encoding"] == "base64"
    assert files["note"] == {"mode": 0o100600, "data": "hello\n", "encoding": "utf-8"}
    with pytest.raises(FileNotFoundError):
        jobspec.add_file("x", str(tmp_path / "nosuch"))
    with pytest.raises(ValueError, match="utf-8 or base64"):
        jobspec.add_file("x", str(script), encoding="rot13")


def test_from_file(tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    path.write_text(json.dumps(v1()))
    assert Jobspec.from_yaml_file(path).jobspec == JobspecV1.from_yaml_stream(path.open()).jobspec == v1()
    with pytest.raises(ValueError, match="jobspec is"):
        Jobspec.from_yaml_stream("a: [")


def _drop(*path: Any) -> Callable[[Any], None]:
    def change(spec: Any) -> None:
        for key in path[:-1]:
            spec = spec[key]
        del spec[path[-1]]

    return change


def _put(value: Any, *path: Any) -> Callable[[Any], None]:
    def change(spec: Any) -> None:
        for key in path[:-1]:
            spec = spec[key]
        spec[path[-1]] = value

    return change


CONSTRAINTS = "attributes.system.constraints"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_drop("resources"), "Missing key (resources)"),
        (_put(1, "foo"), "Extraneous key (foo)"),
        (_put([], "resources"), "resources: must not be empty"),
        (_put({}, "resources"), "resources: expected a list"),
        (_put("1", "version"), "version: expected an integer, got '1'"),
        (_put(True, "version"), "version: expected an integer, got True"),
        (_put(0, "resources", 0, "count"), "resources[0].count: must be > 0, got 0"),
        (_put({"x": []}, "attributes", "system", "constraints"), f"{CONSTRAINTS}: unknown constraint operator 'x'"),
        (_put({"not": [{"ranks": ["x"]}]}, "attributes", "system", "constraints"), f"{CONSTRAINTS}: idset 'x'"),
        (_put({"hostlist": ["n[0"]}, "attributes", "system", "constraints"), f"{CONSTRAINTS}: hostlist 'n[0'"),
        (_put({"properties": ["a|b"]}, "attributes", "system", "constraints"), f"{CONSTRAINTS}: property 'a|b'"),
        (_put("nod", "resources", 0, "type"), "resources[0].type: expected node or slot, got 'nod'"),
        (_put("core", "resources", 0, "with", 0, "type"), "resources[0]: a node contains slot, got core"),
        (_drop("resources", 0, "with"), "resources[0]: a node contains slot, got nothing"),
        (
            _drop("resources", 0, "with", 0, "with", 0),
            "resources[0].with[0]: a slot contains core or core+gpu, got gpu",
        ),
        (_drop("resources", 0, "with", 0, "label"), "resources[0].with[0]: Missing key (label)"),
        (_drop("tasks", 0, "slot"), "tasks[0]: Missing key (slot)"),
        (_put("x", "tasks", 0, "slot"), "tasks[0].slot: no slot in resources is labelled 'x'"),
        (_put([1], "tasks", 0, "command"), "tasks[0].command[0]: expected a string, got 1"),
        (_put({"total": 5}, "tasks", 0, "count"), "tasks[0].count.total: 5 tasks do not fit in 4 slots"),
        (_put({"per_slot": 2}, "tasks", 0, "count"), "tasks[0].count.per_slot: expected 1, got 2"),
        (_put({}, "tasks", 0, "count"), "tasks[0].count: expected one of per_slot, total, per_resource"),
        (_drop("attributes", "system"), "attributes.system is a required key"),
        (_drop("attributes", "system", "duration"), "attributes.system.duration is a required key"),
        (_put(-1, "attributes", "system", "duration"), "attributes.system.duration: must be >= 0, got -1"),
        (_put("1h", "attributes", "system", "duration"), "attributes.system.duration: expected a number of seconds"),
        (_put({"A": 1}, "attributes", "system", "environment"), "attributes.system.environment.A: expected a string"),
        (_put([{}], "attributes", "system", "dependencies"), "attributes.system.dependencies[0]: Missing key (scheme)"),
        (_put(1, "attributes", "site"), "attributes: Extraneous key (site)"),
        (_put({"options": 1}, "attributes", "system", "shell"), "attributes.system.shell.options: expected an object"),
    ],
)
def test_every_refusal_names_the_field(change: Callable[[Any], None], reason: str) -> None:
    spec = v1()
    change(spec)
    with pytest.raises((ValueError, TypeError)) as e:
        validate_jobspec(json.dumps(spec))
    assert str(e.value).startswith(reason)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 5) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["min", "type", "x"]), inner),
    max_leaves=5,
)


def _paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(p for key, inner in items for p in _paths(inner, (*here, key)))]


@given(st.sampled_from(_paths(v1(name="n"))[1:]), json_values, st.sampled_from([1, 2]))
def test_a_damaged_jobspec_is_valid_or_refused(path: tuple[Any, ...], value: Any, version: int) -> None:
    spec = copy.deepcopy(v1(name="n"))
    spec["version"] = version
    _put(value, *path)(spec)
    try:
        _, jobspec = validate_jobspec(spec)
    except (ValueError, TypeError) as e:
        assert str(e)
    else:
        assert jobspec.resource_counts() and json.loads(jobspec.dumps()) == spec


def test_endless_nesting_is_refused() -> None:
    vertex: dict[str, Any] = {"type": "core", "count": 1}
    for _ in range(200):
        vertex = {"type": "node", "count": 1, "with": [vertex]}
    with pytest.raises(ValueError, match="nested more than 32 deep"):
        validate_jobspec(v1() | {"resources": [vertex], "version": 2})
