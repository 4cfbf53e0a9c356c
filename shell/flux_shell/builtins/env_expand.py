"""Shell option env-expand: environment variables whose values hold mustache tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flux.hooks.shell import hookimpl
from flux_shell.mustache import render
from flux_shell.option_names import object_of

if TYPE_CHECKING:
    from flux_shell.shell import Shell
    from flux_shell.task import Task

__all__ = ["EnvExpand"]


class EnvExpand:
    """Expands once for the job, and again for each task where a tag needs one."""

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        asked = object_of("env-expand", shell.options.get("env-expand"), "env-expand.VAR=TEMPLATE")
        shell.env.update({name: render(_template(name, value), shell) for name, value in asked.items()})

    @hookimpl
    def task_init(self, shell: Shell, task: Task) -> None:
        for name in shell.options.get("env-expand") or ():
            task.env[name] = render(task.env[name], shell, task)


def _template(name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"shell option env-expand.{name}={value!s:.60}: text or a number was expected")
    return str(value)
