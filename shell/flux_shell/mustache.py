"""Mustache tags in paths and environment values, such as {{id.dec}} (flux-mini(1), --output; flux-shell(1))."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from flux.idset import IDset
from flux.job import fluid

if TYPE_CHECKING:
    from flux_shell.shell import Shell
    from flux_shell.task import Task

__all__ = ["differs_by_task", "render"]

_TAG = re.compile(r"\{\{\s*([A-Za-z_][\w.]*)\s*\}\}")
_BY_TASK = re.compile(r"\{\{\s*(task|taskid|node|nodeid)\b")


def differs_by_task(template: str) -> bool:
    """True when the template renders differently for different tasks or shells."""
    return _BY_TASK.search(template) is not None


def render(template: str, shell: Shell, task: Task | None = None) -> str:
    """The template with its tags replaced; tags that are unknown, or need a task when there is none, stay."""

    def replace(match: re.Match[str]) -> str:
        value = _value(match[1], shell, task)
        return match[0] if value is None else str(value)

    return _TAG.sub(replace, template) if "{{" in template else template


def _value(tag: str, shell: Shell, task: Task | None) -> Any:
    head, _, tail = tag.partition(".")
    if head in ("id", "jobid"):
        return fluid.encode(shell.jobid, tail or "f58") if tail in ("", *fluid.ENCODINGS) else None
    if head in ("node", "nodeid"):
        return _node_value(tail, shell)
    if head in ("task", "taskid"):
        return _task_value(tail, task)
    ntasks = shell.job.ntasks
    values = {"name": shell.job.name, "size": ntasks, "ntasks": ntasks, "nnodes": shell.size}
    return shell.env.get("FLUX_JOB_TMPDIR") if tag == "tmpdir" else values.get(tag)


def _node_value(field: str, shell: Shell) -> Any:
    if field == "name":
        import socket

        return socket.gethostname()
    node = shell.job.nodes[shell.rank]
    values: dict[str, Any] = {"": shell.rank, "id": shell.rank, "rank": node.rank, "broker_rank": node.rank}
    values |= {"cores": node.cores, "gpus": node.gpus, "ncores": len(IDset(node.cores))}
    return values.get(field)


def _task_value(field: str, task: Task | None) -> Any:
    if task is None:
        return None
    return {"": task.rank, "id": task.rank, "rank": task.rank, "index": task.localid, "localid": task.localid}.get(
        field
    )
