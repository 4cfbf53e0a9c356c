"""Shell options cpu-affinity and gpu-affinity: tasks use what the job was given, or each its own share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flux.hooks.shell import hookimpl
from flux.idset import IDset

if TYPE_CHECKING:
    from flux_shell.shell import Shell
    from flux_shell.task import Task

__all__ = ["Affinity", "share"]

_MODES = ("on", "off", "per-task")


def share(ids: Sequence[int], index: int, count: int) -> list[int]:
    """The part of ids that is for the index-th of count tasks; tasks share ids when there are fewer of them."""
    if len(ids) < count:
        return [ids[index % len(ids)]] if ids else []
    size, extra = divmod(len(ids), count)
    start = index * size + min(index, extra)
    return list(ids[start : start + size + (index < extra)])


def _mode(shell: Shell, option: str) -> str:
    mode = shell.options.get(option, "on")
    if mode in (True, False):
        mode = "on" if mode else "off"
    if mode not in _MODES:
        raise ValueError(f"shell option {option} is one of {', '.join(_MODES)}, not {mode!r}")
    return str(mode)


class Affinity:
    """Binds by setting the shell's own affinity before tasks are started."""

    def __init__(self) -> None:
        self._cpus: list[int] = []
        self._gpus: list[int] = []
        self._per_task = False
        self._gpus_per_task = False

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        node = shell.job.nodes[shell.rank]
        cpus = _mode(shell, "cpu-affinity")
        if cpus != "off":
            self._cpus = _cpus_of(IDset(node.cores))
            self._per_task = cpus == "per-task"
            if self._cpus and not shell.standalone:
                os.sched_setaffinity(0, self._cpus)
        gpus = _mode(shell, "gpu-affinity")
        if gpus != "off":
            self._gpus = list(IDset(node.gpus))
            self._gpus_per_task = gpus == "per-task"
            shell.env["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, self._gpus)) or "-1"
            shell.env["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"

    @hookimpl
    def task_init(self, shell: Shell, task: Task) -> None:
        count = shell.job.counts[shell.rank]
        if self._per_task and self._cpus:
            os.sched_setaffinity(0, share(self._cpus, task.localid, count))
        if self._gpus_per_task and self._gpus:
            mine = share(self._gpus, task.localid, count)
            task.env["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, mine))

    @hookimpl
    def shell_start(self) -> None:
        if self._per_task and self._cpus:
            os.sched_setaffinity(0, self._cpus)


def _cpus_of(cores: IDset) -> list[int]:
    """CPUs of core numbers: the n-th CPU that the broker may use; none when R names cores that are not there."""
    allowed = sorted(os.sched_getaffinity(0))
    if not cores or cores.last() >= len(allowed):
        return []
    return [allowed[core] for core in cores]
