"""Plugins of a site in the commands that submit jobs (flux-submit(1), PLUGINS). Not imported where there are none."""

from __future__ import annotations

import argparse

from flux.cli.plugin import registry
from flux_cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.cli.plugin import CLIPluginRegistry
    from flux_cli.common import Parser

__all__ = ["add_options", "extended", "load", "prepared"]

_TITLE = "Options provided by plugins (--help=OPTION tells more)"
_NUMBERS = (
    "nodes",
    "ntasks",
    "cores_per_task",
    "gpus_per_task",
    "cores",
    "tasks_per_node",
    "tasks_per_core",
    "gpus_per_node",
    "nslots",
    "cores_per_slot",
    "gpus_per_slot",
)
"""Options that plugins expect as numbers."""


def load(name: str) -> CLIPluginRegistry | None:
    """The plugins of a command. CommandError says which cannot be made."""
    try:
        return registry(name)
    except ValueError as exc:
        raise CommandError(str(exc)) from None


def add_options(parser: Parser, plugins: CLIPluginRegistry) -> None:
    """Add the options of plugins to those of a command."""
    group = parser.add_argument_group(_TITLE)
    for option in plugins.options:
        try:
            group.add_argument(option.name, **option.kwargs)
        except (argparse.ArgumentError, TypeError, ValueError) as exc:
            raise CommandError(f"a plugin's option {option.name} cannot be added: {exc}") from None
        words = (f"--help={option.name}", f"--help={option.name[2:]}")
        group.add_argument(*words, action=_Help, const=(plugins, option.name), help=argparse.SUPPRESS)


class _Help(argparse.Action):
    """--help=OPTION."""

    def __init__(self, option_strings: Any, dest: str, const: Any, help: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, const=const, help=help)

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        plugins, name = self.const
        plugins.print_help(name)
        parser.exit()


def prepared(args: argparse.Namespace) -> argparse.Namespace:
    """Options as plugins have changed them: a copy, since each job of a command is prepared for itself."""
    mine = argparse.Namespace(**{name: _copy(name, value) for name, value in vars(args).items()})
    try:
        if hasattr(mine, "conf"):
            from flux.job.batch_config import batch_config

            mine.conf = batch_config(mine.conf)
        args.plugins.preinit(mine)
    except ValueError as exc:
        raise CommandError(str(exc)) from None
    return mine


def _copy(name: str, value: Any) -> Any:
    if name in _NUMBERS and isinstance(value, str) and value.isdecimal():
        return int(value)
    return list(value) if isinstance(value, list) else value


def extended(args: argparse.Namespace, spec: dict[str, Any]) -> dict[str, Any]:
    """A jobspec as plugins have changed it and found it good."""
    from flux.job.Jobspec import Jobspec, JobspecV1

    is_given = args.resources_json or args.resources_shape
    try:
        jobspec = (Jobspec if is_given else JobspecV1).from_dict(spec)
        args.plugins.modify_jobspec(args, jobspec)
        args.plugins.validate(jobspec)
    except (TypeError, ValueError) as exc:
        raise CommandError(str(exc)) from None
    return jobspec.jobspec
