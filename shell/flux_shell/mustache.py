"""Mustache tags in paths, arguments and environment values, such as {{id.dec}} (flux-shell(1), MUSTACHE TEMPLATES)."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import msgspec

from flux.job import fluid
from flux_shell import facts

if TYPE_CHECKING:
    from flux_shell.shell import Shell
    from flux_shell.task import Task

__all__ = ["differs_by_rank", "render", "render_shared"]

LOG_ERR = 3
_TAG = re.compile(r"\{\{\s*([A-Za-z_][\w.-]*)\s*\}\}")
_BY_RANK = re.compile(r"\{\{\s*(task|taskid|node|nodeid|tmpdir)\b")


def differs_by_rank(template: str) -> bool:
    """True when the template renders differently for different tasks or shells (flux_shell_mustache_is_per_rank(3))."""
    return _BY_RANK.search(template) is not None


def render(template: str, shell: Shell, task: Task | None = None, shell_rank: int = -1) -> str:
    """The template with its tags replaced; those that nobody knows, or that need a task when there is none, stay.

    Args:
        shell_rank: shell for which tags of the node are filled in; this one by default.
    """
    if "{{" not in template:
        return template
    node = shell.rank if shell_rank < 0 else shell_rank

    return _TAG.sub(lambda match: _replaced(match, shell, node, task), template)


def render_shared(template: str, shell: Shell) -> str:
    """The template with those tags replaced that say the same for all tasks and shells."""

    def replace(match: re.Match[str]) -> str:
        return match[0] if differs_by_rank(match[0]) else _replaced(match, shell, shell.rank, None)

    return _TAG.sub(replace, template)


def _replaced(match: re.Match[str], shell: Shell, node: int, task: Task | None) -> str:
    value = _value(match[1], shell, node, task)
    return match[0] if value is None else str(value)


def _value(tag: str, shell: Shell, node: int, task: Task | None) -> Any:
    head, _, tail = tag.partition(".")
    if head in ("task", "taskid"):
        return _task_value(tail, task)
    if head in ("id", "jobid"):
        value = _id_value(tag, tail or "f58", shell)
    elif head in ("node", "nodeid"):
        value = _node_value(tail, facts.rank_info(shell.job, node))
    else:
        value = _job_value(tag, shell)
    return _asked(tag, shell, task) if value is None else value


def _id_value(tag: str, encoding: str, shell: Shell) -> str | None:
    if encoding in fluid.ENCODINGS:
        return fluid.encode(shell.jobid, encoding)
    shell.log(LOG_ERR, f"Invalid jobid encoding '{tag}' specified, it is one of {', '.join(fluid.ENCODINGS)}")
    return None


def _job_value(tag: str, shell: Shell) -> Any:
    if tag == "name":
        return shell.job.name or os.path.basename(shell.job.command[0])
    if tag == "tmpdir":
        return shell.env.get("FLUX_JOB_TMPDIR")
    return {"size": shell.job.ntasks, "ntasks": shell.job.ntasks, "nnodes": shell.size}.get(tag)


def _node_value(field: str, info: dict[str, Any]) -> Any:
    named = {"": info["id"], "rank": info["broker_rank"]}
    value = {**info["resources"], **info, **named}.get(field)
    return msgspec.json.encode(value).decode() if isinstance(value, dict) else value


def _task_value(field: str, task: Task | None) -> Any:
    if task is None:
        return None
    values = {"": task.rank, "id": task.rank, "rank": task.rank, "index": task.localid, "localid": task.localid}
    return values.get(field)


def _asked(tag: str, shell: Shell, task: Task | None) -> Any:
    """What a plugin says of a tag that is none of ours."""
    found = shell.call("mustache.render", shell=shell, tag=tag, task=task)
    return found[0] if found else None
