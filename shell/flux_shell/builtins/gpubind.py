"""Shell option gpu-affinity: CUDA_VISIBLE_DEVICES names the GPUs that the job, or each task, was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flux.hooks.shell import hookimpl
from flux.idset import IDset
from flux_shell.cpusets import parse_map, share

if TYPE_CHECKING:
    from flux_shell.shell import Shell
    from flux_shell.task import Task

__all__ = ["GpuBind"]

_NONE = "-1"  # no GPU has this number: a job without GPUs must not find those of the node


class GpuBind:
    """Sets the variable for the job, and for tasks where they differ."""

    def __init__(self) -> None:
        self._sets: list[list[int]] = []

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        mode, sets = _wish(shell.options.get("gpu-affinity"))
        if mode == "off":
            return
        gpus = list(IDset(shell.job.nodes[shell.rank].gpus))
        count = shell.job.counts[shell.rank]
        shell.env["CUDA_VISIBLE_DEVICES"] = _text(gpus)
        shell.env.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        if mode == "per-task":
            self._sets = [share(gpus, index, count) for index in range(count)]
        elif sets:
            self._sets = [sets[index % len(sets)] for index in range(count)]

    @hookimpl
    def task_init(self, task: Task) -> None:
        if self._sets:
            task.env["CUDA_VISIBLE_DEVICES"] = _text(self._sets[task.localid])


def _wish(option: object) -> tuple[str, list[list[int]]]:
    """The mode, and the sets of a map."""
    if option is False:
        option = "off"
    elif option in (True, None):
        option = "on"
    mode, colon, sets = str(option).partition(":")
    if mode not in ("on", "off", "per-task", "map") or bool(colon) != (mode == "map"):
        raise ValueError(f"shell option gpu-affinity={option}: on, off, per-task or map:SET;SET;... was expected")
    try:
        return mode, parse_map(sets) if colon else []
    except ValueError as exc:
        raise ValueError(f"shell option gpu-affinity={option}: {exc}") from None


def _text(gpus: list[int]) -> str:
    return ",".join(map(str, gpus)) or _NONE
