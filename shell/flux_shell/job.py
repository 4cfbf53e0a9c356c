"""What a shell knows of its job: jobspec with environment, R, and the layout of tasks (flux-shell(1), OPERATION)."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Any

import msgspec

from flux.taskmap import TaskMap
from flux_shell.layout import LayoutError, Node, count_tasks, nodes_of

__all__ = ["Job", "JobError", "unwrap"]


class JobError(ValueError):
    """The job cannot be started from what is known of it."""


def unwrap(signed: str) -> dict[str, Any]:
    """The jobspec in a signed job request J (RFC 39: HEADER.PAYLOAD.SIGNATURE). JobError when it is malformed.

    The signature was verified when the job was ingested; the shell runs as the user who signed.
    """
    parts = signed.split(".")
    try:
        jobspec = msgspec.json.decode(binascii.a2b_base64(parts[1]))
    except (IndexError, binascii.Error, msgspec.DecodeError) as exc:
        raise JobError(f"J is malformed: {type(exc).__name__}: {exc}") from None
    if not isinstance(jobspec, dict):
        raise JobError("J does not hold a jobspec object")
    return jobspec


class Job:
    """A job as its shells see it.

    Args:
        id: job id. jobspec, r: the objects of RFC 25 and RFC 20.

    Attributes:
        command: program and arguments. env: environment of the tasks; None when jobspec has none.
        options: `attributes.system.shell.options`. nodes: one for each shell.
        counts: number of tasks of each shell. taskmap: where each task is.
    """

    def __init__(self, id: int, jobspec: dict[str, Any], r: dict[str, Any]) -> None:
        self.id = id
        self.jobspec = jobspec
        self.r = r
        system = _table(jobspec, "attributes", "system")
        self.options = dict(_table(system, "shell", "options"))
        self.env: dict[str, str | None] | None = system.get("environment")
        self.cwd: str = system.get("cwd") or ""
        self.name: str = _table(system, "job").get("name", "")
        try:
            self.command = _command(jobspec)
            self.nodes: list[Node] = nodes_of(r)
            self.counts = count_tasks(jobspec, self.nodes, self.options)
        except LayoutError as exc:
            raise JobError(str(exc)) from None
        self.ntasks = sum(self.counts)
        self.taskmap = TaskMap.block(self.counts)
        if not self.ntasks:
            raise JobError("no task fits on the resources of the job")

    def rank_of(self, broker_rank: int) -> int:
        """The shell rank on a broker. JobError when the job has nothing there."""
        for shell_rank, node in enumerate(self.nodes):
            if node.rank == broker_rank:
                return shell_rank
        raise JobError(f"R has no resources on broker rank {broker_rank}")

    @property
    def verbosity(self) -> int:
        """What the option verbose says. JobError when that is no number."""
        asked = self.options.get("verbose") or 0
        try:
            return int(asked)
        except (TypeError, ValueError):
            raise JobError(f"shell option verbose={asked}: a number was expected") from None

    def remap(self, taskmap: TaskMap) -> None:
        """Assign tasks to shells otherwise than in blocks. JobError when it is not about these tasks and shells."""
        if taskmap.ntasks() != self.ntasks or taskmap.nnodes() > len(self.nodes):
            raise JobError(f"taskmap {taskmap.encode()} is not one of {self.ntasks} tasks on {len(self.nodes)} nodes")
        self.taskmap = taskmap
        self.counts = [len(taskmap.taskids(rank)) for rank in range(len(self.nodes))]

    def task_ranks(self, shell_rank: int) -> list[int]:
        """Global ranks of a shell's tasks."""
        return list(self.taskmap.taskids(shell_rank))


def _command(jobspec: Mapping[str, Any]) -> list[str]:
    try:
        return [str(arg) for arg in jobspec["tasks"][0]["command"]]
    except (KeyError, IndexError, TypeError):
        raise JobError("jobspec has no tasks[0].command: a list of the program and its arguments") from None


def _table(obj: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    for key in path:
        found = obj.get(key) or {}
        if not isinstance(found, Mapping):
            raise JobError(f"jobspec: {key} must be an object, not {found!r:.60}")
        obj = found
    return obj
