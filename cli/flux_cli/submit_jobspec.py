"""The jobspec that the options of a submission stand for (flux-submit(1), RFC 14, RFC 25).

It is a plain dict: the checks of `flux.job.Jobspec` are made again by the instance, and importing them takes longer
than the rest of a submission.
"""

from __future__ import annotations

import os
from functools import cache

from flux.cli import values
from flux_cli import submit_options
from flux_cli.common import die
from flux_cli.errors import CommandError
from flux_cli.submit_options import count, is_ranks, optional_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["build_jobspec", "finish"]

_PER_TASK = ("ntasks", "cores_per_task", "gpus_per_task")
_PER_RESOURCE = ("cores", "tasks_per_node", "tasks_per_core", "gpus_per_node")
_MINUTE = 60


def build_jobspec(args: Any) -> dict[str, Any]:
    """The jobspec of a parallel program, version 1. CommandError names the option that makes no sense."""
    resources, tasks, shell = _request(args)
    if args.taskmap is not None:
        shell["taskmap"] = _taskmap(args.taskmap)
    if args.debug_emulate:
        shell["stop-tasks-in-exec"] = 1
    return submit_options.extended(args, finish(args, resources, tasks, shell))


def _taskmap(text: str) -> dict[str, str]:
    try:
        return values.taskmap(text)
    except ValueError as exc:
        raise CommandError(str(exc)) from None


def finish(args: Any, resources: list[dict[str, Any]], task: dict[str, Any], shell: dict[str, Any]) -> dict[str, Any]:
    """The jobspec of resources, a task and shell options, with all that the options of every command add."""
    try:
        return _finish(args, resources, task, shell)
    except ValueError as exc:
        raise CommandError(str(exc)) from None


def _finish(args: Any, resources: list[dict[str, Any]], task: dict[str, Any], shell: dict[str, Any]) -> dict[str, Any]:
    if args.resources_json or args.resources_shape:
        resources = _resources_given(args)
        task = {**task, "slot": _first_slot(resources)}
    env, templates = values.environment(args.env, _present_environment())
    if templates:
        shell["env-expand"] = templates
    system: dict[str, Any] = {
        "duration": 0 if args.time_limit is None else values.seconds(args.time_limit, _MINUTE),
        "cwd": args.cwd or os.getcwd(),
        "environment": env,
        "shell": {"options": shell},
    }
    spec = {"resources": resources, "tasks": [task], "attributes": {"system": system}, "version": 1}
    _name(args, system)
    _conditions(args, system)
    _streams(args, shell)
    _limits(args, shell)
    _extras(args, spec, system, shell)
    return spec


@cache
def _present_environment() -> dict[str, str]:
    """os.environ, decoded once for all jobs of a command."""
    return dict(os.environ)


# -- resources


def _request(args: Any) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]]:
    """Resources, task and shell options."""
    from flux.job import _jobspec_build as build

    nodes = optional_count("--nodes", args.nodes)
    try:
        if any(getattr(args, name) for name in _PER_RESOURCE):
            return _per_resource(args, nodes)
        ntasks = optional_count("--ntasks", args.ntasks, 0) or None
        resources = build.slot_resources(
            ntasks or nodes or 1,
            optional_count("--cores-per-task", args.cores_per_task, 0) or 1,
            optional_count("--gpus-per-task", args.gpus_per_task, 0),
            nodes,
            args.exclusive or (nodes is not None and ntasks is None),
        )
        return resources, build.task(args.command, ntasks or nodes or 1, nodes), {}
    except ValueError as exc:
        raise CommandError(str(exc)) from None


def _per_resource(args: Any, nodes: int | None) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]]:
    from flux.job import _jobspec_build as build

    if any(getattr(args, name) for name in _PER_TASK):
        die("--cores, --tasks-per-node, --tasks-per-core and --gpus-per-node do not go with -n, -c and -g")
    if args.tasks_per_node and args.tasks_per_core:
        die("--tasks-per-node and --tasks-per-core exclude each other")
    gpus = optional_count("--gpus-per-node", args.gpus_per_node, 0)
    if gpus and nodes is None:
        die("--gpus-per-node needs --nodes")
    cores = optional_count("--cores", args.cores)
    if nodes is None and cores is None:
        die("--tasks-per-node and --tasks-per-core need --nodes or --cores")
    exclusive = args.exclusive or (cores is None and nodes is not None)
    resources = build.per_resource_resources(cores, nodes, gpus, exclusive)
    task = build.task(args.command, 1, None)
    for kind, text in (("node", args.tasks_per_node), ("core", args.tasks_per_core)):
        if text:
            return resources, task, {"per-resource": {"type": kind, "count": count(f"--tasks-per-{kind}", text)}}
    return resources, task, {}


def _resources_given(args: Any) -> list[dict[str, Any]]:
    if args.resources_json and args.resources_shape:
        die("--resources-json and --resources-shape exclude each other")
    if args.resources_json:
        return _resources_of_file(args.resources_json)
    from flux_cli.shape import parse_shape

    return parse_shape(args.resources_shape)


def _first_slot(resources: list[dict[str, Any]]) -> str:
    """The label of the slot that tasks run in."""
    from flux_cli.shape import slot_labels

    return next(filter(None, slot_labels(resources)), None) or "task"


def _resources_of_file(path: str) -> list[dict[str, Any]]:
    found = values.json_file("--resources-json", path)
    if isinstance(found, dict):
        found = found.get("resources", [found])
    if not isinstance(found, list) or not found:
        die(f"--resources-json: {path} holds no list of resources (RFC 14)")
    return found


# -- attributes


def _name(args: Any, system: dict[str, Any]) -> None:
    if args.job_name is not None:
        system["job"] = {"name": args.job_name}
    if args.queue is not None:
        system["queue"] = args.queue
    if args.bank is not None:
        system["bank"] = args.bank


def _conditions(args: Any, system: dict[str, Any]) -> None:
    dependencies = [values.dependency(uri) for uri in args.dependency]
    if args.begin_time is not None:
        from flux_cli.dates import parse_date

        start = parse_date("--begin-time", args.begin_time).timestamp()
        dependencies.append({"scheme": "begin-time", "value": str(start)})
    if dependencies:
        system["dependencies"] = dependencies
    if args.requires:
        from flux.cli.requires import parse_requires

        system["constraints"] = parse_requires(args.requires)


def _streams(args: Any, shell: dict[str, Any]) -> None:
    output = {name: _stream(args, name, path) for name, path in (("stdout", args.output), ("stderr", args.error))}
    output = {name: settings for name, settings in output.items() if settings}
    if output:
        shell["output"] = output
    if args.input and not is_ranks(args.input):
        shell["input"] = {"stdin": {"type": "file", "path": args.input}}
    if args.unbuffered:
        shell.setdefault("output", {})["batch-timeout"] = 0.05
        shell.setdefault("input", {})["batch-timeout"] = 0.0


def _stream(args: Any, name: str, path: str | None) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if path in ("none", "kvs"):
        settings["type"] = "kvs"
    elif path is not None:
        settings |= {"type": "file", "path": path}
    if args.label_io and path not in (None, "none", "kvs"):
        settings["label"] = True
    if args.unbuffered:
        settings["buffer"] = {"type": "none"}
    return settings


def _limits(args: Any, shell: dict[str, Any]) -> None:
    propagated = _propagated(tuple(args.rlimit))
    if propagated:
        shell["rlimit"] = dict(propagated)
    if args.signal:
        from flux.cli.rlimits import signal_option

        shell["signal"] = signal_option(args.signal)


@cache
def _propagated(rules: tuple[str, ...]) -> dict[str, int]:
    """Resource limits, looked up once for all jobs of a command."""
    from flux.cli.rlimits import limits

    return limits(rules)


def _extras(args: Any, spec: dict[str, Any], system: dict[str, Any], shell: dict[str, Any]) -> None:
    for setting in args.add_file:
        values.add_file_entry(system, *values.file_option(setting))
    for setting in args.setopt:
        values.set_key(shell, *values.key_value("--setopt", setting), "--setopt")
    for setting in args.setattr:
        key, value = values.key_value("--setattr", setting)
        values.set_key(spec["attributes"], values.attribute_key(key), value, "--setattr")
