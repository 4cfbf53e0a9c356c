"""Shell option taskmap: block, cyclic[:STRIDE] and manual:MAP distributions of tasks (RFC 34)."""

from __future__ import annotations

from flux.hooks.shell import hookimpl
from flux.taskmap import TaskMap, decode

__all__ = ["TaskMapSchemes"]


class TaskMapSchemes:
    """The schemes that come with the shell."""

    @hookimpl
    def shell_taskmap(self, scheme: str, value: str, counts: list[int]) -> TaskMap | None:
        if scheme == "block":
            return TaskMap.block(counts)
        if scheme == "cyclic":
            return TaskMap.cyclic(counts, int(value or 1))
        if scheme == "manual":
            return decode(value)
        return None
