"""The jobspec that the options of a submission stand for (flux-submit(1), RFC 14, RFC 25).

It is a plain dict: the checks of `flux.job.Jobspec` are made again by the instance, and importing them takes longer
than the rest of a submission.
"""

from __future__ import annotations

import os
from functools import cache

from flux_cli.common import die
from flux_cli.errors import CommandError
from flux_cli.submit_options import count, is_ranks, optional_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["add_file_entry", "build_jobspec", "environment", "finish"]

_PER_TASK = ("ntasks", "cores_per_task", "gpus_per_task")
_PER_RESOURCE = ("cores", "tasks_per_node", "tasks_per_core", "gpus_per_node")


def build_jobspec(args: Any, env: dict[str, str]) -> dict[str, Any]:
    """The jobspec of a parallel program, version 1. CommandError names the option that makes no sense.

    Args:
        env: the environment of the job.
    """
    resources, tasks, shell = _request(args)
    if args.taskmap:
        scheme, _, text = args.taskmap.partition(":")
        shell["taskmap"] = {"scheme": scheme, "value": text}
    if args.debug_emulate:
        shell["stop-tasks-in-exec"] = 1
    return finish(args, env, resources, tasks, shell)


def environment(rules: list[str]) -> dict[str, str]:
    """The environment that a job gets by --env rules."""
    present = _present_environment()
    if not rules:
        return dict(present)
    from flux_cli.env_rules import apply_rules

    return apply_rules(rules, present)


@cache
def _present_environment() -> dict[str, str]:
    """os.environ, decoded once for all jobs of a command."""
    return dict(os.environ)


def finish(
    args: Any, env: dict[str, str], resources: list[dict[str, Any]], task: dict[str, Any], shell: dict[str, Any]
) -> dict[str, Any]:
    """The jobspec of resources, a task and shell options, with all that the options of every command add."""
    if args.resources_json or args.resources_shape:
        resources = _resources_given(args)
        task = {**task, "slot": _first_slot(resources)}
    if args.env:
        _leave_to_shell(env, shell)
    system: dict[str, Any] = {
        "duration": _seconds(args.time_limit),
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


def _leave_to_shell(env: dict[str, str], shell: dict[str, Any]) -> None:
    """Values with mustache templates that a rule has set: only the job shell knows what they stand for."""
    templates = {name for name, text in env.items() if "{{" in text and text != _present_environment().get(name)}
    if templates:
        shell["env-expand"] = {name: env.pop(name) for name in templates}


# -- resources


def _request(args: Any) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]]:
    """Resources, task and shell options."""
    from flux.job import _jobspec_build as build

    nodes = optional_count("--nodes", args.nodes)
    try:
        if any(getattr(args, name) for name in _PER_RESOURCE):
            return _per_resource(args, nodes)
        ntasks = optional_count("--ntasks", args.ntasks)
        resources = build.slot_resources(
            ntasks or nodes or 1,
            optional_count("--cores-per-task", args.cores_per_task) or 1,
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
    found = _json_file("--resources-json", path)
    if isinstance(found, dict):
        found = found.get("resources", [found])
    if not isinstance(found, list) or not found:
        die(f"--resources-json: {path} holds no list of resources (RFC 14)")
    return found


def _seconds(text: str | None) -> float:
    """--time-limit in seconds, 0 for none; a number without a unit is in minutes."""
    if text is None:
        return 0
    from flux.util import parse_fsd

    try:
        seconds = float(text) * 60 if text.replace(".", "", 1).isdecimal() else parse_fsd(text)
    except ValueError as exc:
        raise CommandError(f"--time-limit: {exc}") from None
    return 0 if seconds == float("inf") else seconds


# -- attributes


def _name(args: Any, system: dict[str, Any]) -> None:
    if args.job_name:
        system["job"] = {"name": args.job_name}
    if args.queue:
        system["queue"] = args.queue
    if args.bank:
        system["bank"] = args.bank


def _conditions(args: Any, system: dict[str, Any]) -> None:
    dependencies = [_dependency(uri) for uri in args.dependency]
    if args.begin_time:
        from flux_cli.dates import parse_date

        start = parse_date("--begin-time", args.begin_time).timestamp()
        dependencies.append({"scheme": "begin-time", "value": str(start)})
    if dependencies:
        system["dependencies"] = dependencies
    if args.requires:
        from flux_cli.requires import parse_requires

        system["constraints"] = parse_requires(args.requires)


def _dependency(uri: str) -> dict[str, Any]:
    """SCHEME:VALUE[?KEY=VAL[&KEY=VAL...]] as an object (RFC 26)."""
    scheme, colon, rest = uri.partition(":")
    if not colon or not scheme:
        if uri == "singleton":
            return {"scheme": "singleton", "value": ""}
        die(f"--dependency: expected SCHEME:VALUE[?KEY=VAL], got '{uri}'")
    value, _, query = rest.partition("?")
    entry: dict[str, Any] = {"scheme": scheme, "value": value}
    for pair in query.split("&") if query else ():
        key, _, text = pair.partition("=")
        entry[key] = _json_or_text(text)
    return entry


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
    from flux_cli.rlimits import limits, signal_option

    propagated = limits(tuple(args.rlimit))
    if propagated:
        shell["rlimit"] = dict(propagated)
    if args.signal:
        shell["signal"] = signal_option(args.signal)


def _extras(args: Any, spec: dict[str, Any], system: dict[str, Any], shell: dict[str, Any]) -> None:
    for setting in args.add_file:
        _add_file(system, setting)
    for setting in args.setopt:
        key, equals, text = setting.partition("=")
        _set(shell, key, _json_or_text(text) if equals else 1, "--setopt")
    for setting in args.setattr:
        _set_attribute(spec["attributes"], setting)


def _set_attribute(attributes: dict[str, Any], setting: str) -> None:
    key, equals, text = setting.partition("=")
    value: Any = _json_or_text(text) if equals else 1
    if key.startswith("^"):
        key = key[1:]
        value = _json_file("--setattr", text)
    key = key.removeprefix("attributes.")
    if not key.startswith(("system.", "user.", ".")):
        key = f"system.{key}"
    _set(attributes, key.lstrip("."), value, "--setattr")


def _json_file(option: str, path: str) -> Any:
    from json import load

    with open(path) as stream:
        try:
            return load(stream)
        except ValueError as exc:
            raise CommandError(f"{option}: {path} is not JSON: {exc}") from None


def _set(tree: dict[str, Any], key: str, value: Any, option: str) -> None:
    *parents, last = key.split(".")
    if not last or not all(parents):
        die(f"{option}: expected KEY=VAL with a dotted KEY, got '{key}'")
    for part in parents:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            die(f"{option}: '{key}' is below a value that is no object")
    tree[last] = value


def _json_or_text(text: str) -> Any:
    from json import loads

    try:
        return loads(text)
    except ValueError:
        return text


def _add_file(system: dict[str, Any], setting: str) -> None:
    name, equals, data = setting.partition("=")
    if not equals or "\n" in name:
        name, data = os.path.basename(setting), setting
    elif "\\n" in data and "\n" not in data and not os.path.exists(data):
        data = data.replace("\\n", "\n")
    name, perms = _permissions(name)
    add_file_entry(system, name, data, perms)


def _permissions(name: str) -> tuple[str, int | None]:
    """NAME[:PERMS]; what is no octal number is part of the name."""
    stem, colon, text = name.rpartition(":")
    if colon and stem and text and not text.strip("01234567"):
        return stem, int(text, 8)
    return name, None


def add_file_entry(system: dict[str, Any], name: str, data: Any, perms: int | None) -> None:
    """Let the job find a file (RFC 37). perms: None for the file's own, or 0600."""
    from stat import S_IFREG

    from flux.job._jobspec_build import file_entry

    entry = file_entry(data, 0o600 if perms is None else perms, None)
    if perms is not None:
        entry["mode"] = S_IFREG | perms
    system.setdefault("files", {})[name] = entry
