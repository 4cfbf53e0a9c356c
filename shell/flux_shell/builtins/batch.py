"""Jobs whose script comes as attributes.system.batch (flux-mini(1), batch), as older submission commands make them.

What `flux batch` makes today has its script among the files of the job and needs none of this.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from flux.hooks.shell import hookimpl

if TYPE_CHECKING:
    from flux_shell.shell import Shell
    from flux_shell.task import Task

__all__ = ["Batch"]


class Batch:
    """Writes the script on the first node; task 0 is a broker that runs it, the others are its peers."""

    def __init__(self) -> None:
        self._options: list[str] | None = None
        self._script = ""

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        system = (shell.job.jobspec.get("attributes") or {}).get("system") or {}
        batch = system.get("batch")
        if batch is None:
            return
        script, self._options = _checked(batch)
        self._script = os.path.join(shell.env["FLUX_JOB_TMPDIR"], "script")
        if shell.rank == 0:
            with open(self._script, "x", encoding="utf-8", opener=_executable) as file:
                file.write(script)

    @hookimpl
    def task_init(self, task: Task) -> None:
        if self._options is None or _is_broker(task.argv):
            return
        program = [self._script, *task.argv[1:]] if task.rank == 0 else []
        task.argv = ["flux", "broker", *self._options, *program]


def _checked(batch: Any) -> tuple[str, list[str]]:
    """Script and options for brokers. ValueError when they are none."""
    if not isinstance(batch, dict) or not isinstance(batch.get("script"), str):
        raise ValueError("attributes.system.batch needs a script, which is text")
    options = batch.get("broker-opts") or []
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        raise ValueError(f"attributes.system.batch.broker-opts is an array of strings, not {options!r:.60}")
    return batch["script"], options


def _executable(path: str, flags: int) -> int:
    return os.open(path, flags, 0o700)


def _is_broker(argv: list[str]) -> bool:
    return os.path.basename(argv[0]) == "flux" and argv[1:2] in (["broker"], ["start"])
