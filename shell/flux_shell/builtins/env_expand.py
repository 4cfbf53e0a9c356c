"""Shell option env-expand: environment variables whose values hold mustache tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flux.hooks.shell import hookimpl
from flux_shell.mustache import render

if TYPE_CHECKING:
    from flux_shell.shell import Shell
    from flux_shell.task import Task

__all__ = ["EnvExpand"]


class EnvExpand:
    """Expands once for the job, and again for each task where a tag needs one."""

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        asked = shell.options.get("env-expand") or {}
        if not isinstance(asked, dict):
            raise ValueError(f"shell option env-expand must be an object of variables, not {asked!r}")
        shell.env.update({name: render(str(value), shell) for name, value in asked.items()})

    @hookimpl
    def task_init(self, shell: Shell, task: Task) -> None:
        for name in shell.options.get("env-expand") or ():
            task.env[name] = render(task.env[name], shell, task)
