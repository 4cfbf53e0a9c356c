"""Submission options as keyword arguments: what JobspecV1.from_submit() and its like take (flux-submit(1))."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from flux.cli import values
from flux.cli.plugin import registry

if TYPE_CHECKING:
    from flux.cli.plugin import CLIPluginRegistry
    from flux.job.Jobspec import JobspecV1

__all__ = ["apply_options", "gathered"]

_LISTS = ("env", "rlimit", "dependency", "requires", "add_file")


def gathered(prog: str | None, options: Mapping[str, Any], args: Any = None) -> Namespace:
    """All options by name, None for those not given, as plugins of the command `prog` have changed them.

    Args:
        options: by name; those of plugins too. args: an object with more of them as attributes, which count less.

    Raises:
        TypeError: there is no such option. ValueError: a plugin refuses them.
    """
    plugins = registry(prog) if prog else None
    found: dict[str, Any] = dict.fromkeys(_OPTIONS)
    for option in plugins.options if plugins else ():
        absent = False if option.kwargs.get("action") == "store_true" else None
        found[option.dest] = option.kwargs.get("default", absent)
    unknown = options.keys() - found.keys() - _SIZES
    if unknown:
        raise TypeError(f"unknown options: {', '.join(sorted(unknown))}")
    found |= vars(args) if args is not None else {}
    found |= {name: value for name, value in options.items() if value is not None or name in _SIZES}
    found |= {name: [found[name]] for name in _LISTS if isinstance(found[name], str)}
    gathered = Namespace(**found, plugins=plugins)
    if plugins is not None:
        plugins.preinit(gathered)
    return gathered


def apply_options(jobspec: JobspecV1, args: Namespace) -> None:
    """Put gathered options into a jobspec. TypeError or ValueError names what is wrong."""
    for name, put in _OPTIONS.items():
        value = getattr(args, name)
        if value is not None:
            put(jobspec, value)
    plugins: CLIPluginRegistry | None = args.plugins
    if plugins is not None:
        plugins.modify_jobspec(args, jobspec)
        plugins.validate(jobspec)


# -- what each does


def _env(jobspec: JobspecV1, rules: list[str]) -> None:
    jobspec.environment, templates = values.environment(rules, os.environ)
    if templates:
        jobspec.setattr_shell_option("env-expand", templates)


def _rlimit(jobspec: JobspecV1, rules: list[str]) -> None:
    from flux.cli.rlimits import limits

    found = limits(tuple(rules))
    if found:
        jobspec.setattr_shell_option("rlimit", found)


def _signal(jobspec: JobspecV1, text: str) -> None:
    from flux.cli.rlimits import signal_option

    jobspec.setattr_shell_option("signal", signal_option(text))


def _taskmap(jobspec: JobspecV1, text: str) -> None:
    jobspec.setattr_shell_option("taskmap", values.taskmap(text))


def _dependency(jobspec: JobspecV1, uris: list[str]) -> None:
    if uris:
        jobspec.setattr("system.dependencies", [values.dependency(uri) for uri in uris])


def _requires(jobspec: JobspecV1, texts: list[str]) -> None:
    from flux.cli.requires import parse_requires

    if texts:
        jobspec.setattr("system.constraints", parse_requires(texts))


def _time_limit(jobspec: JobspecV1, limit: float | str) -> None:
    jobspec.duration = values.seconds(limit)


def _shell_options(jobspec: JobspecV1, options: Mapping[str, Any]) -> None:
    for key, value in options.items():
        jobspec.setattr_shell_option(key, value)


def _setopt(jobspec: JobspecV1, settings: list[str]) -> None:
    _shell_options(jobspec, dict(values.key_value("--setopt", setting) for setting in settings))


def _attributes(jobspec: JobspecV1, attributes: Mapping[str, Any]) -> None:
    for key, value in attributes.items():
        values.set_key(jobspec.attributes, values.attribute_key(key), value, "attributes")


def _setattr(jobspec: JobspecV1, settings: list[str]) -> None:
    _attributes(jobspec, dict(values.key_value("--setattr", setting) for setting in settings))


def _add_file(jobspec: JobspecV1, settings: list[str]) -> None:
    for setting in settings:
        values.add_file_entry(jobspec.attributes["system"], *values.file_option(setting))


_OPTIONS: dict[str, Callable[[JobspecV1, Any], None]] = {
    "env": _env,
    "rlimit": _rlimit,
    "signal": _signal,
    "taskmap": _taskmap,
    "dependency": _dependency,
    "requires": _requires,
    "setopt": _setopt,
    "shell_options": _shell_options,
    "time_limit": _time_limit,
    "setattr": _setattr,
    "attributes": _attributes,
    "add_file": _add_file,
}
"""What each option does to a jobspec, in this order."""

_SIZES = frozenset(
    "ntasks nodes cores_per_task gpus_per_task nslots cores_per_slot gpus_per_slot exclusive broker_opts conf bg"
    " name queue bank cwd output error input label_io unbuffered".split()
)
"""What a jobspec is made of before options are put into it."""
