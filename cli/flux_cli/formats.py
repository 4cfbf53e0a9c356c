"""Formats that have names: a command's own and those of configuration files (flux-jobs(1), CONFIGURATION)."""

from __future__ import annotations

from flux.toolconfig import find_files, read_file
from flux.toolformats import check_formats, chosen_format
from flux_cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Mapping
    from typing import Any

__all__ = ["format_text", "tool_config"]

_LAYOUTS: dict[str, dict[str, tuple[str, ...]]] = {
    "flux-resource": {"list": ("formats", "hidden-queues"), "status": ("formats",), "drain": ("formats",)},
    "flux-queue": {"list": ("formats",)},
}
"""Keys of the tables in the configuration files of commands whose sub-commands have a table each."""


def format_text(
    option: str, builtin: Mapping[str, tuple[str, str]], files: str, tool: str = "", table: str = ""
) -> str | None:
    """The format that --format asks for; None when it asked for help or a configuration, which was printed.

    Args:
        option: a format, the name of one, "help", or "get-config=NAME".
        builtin: name to description and format.
        files: stem of the configuration files, such as "flux-jobs".
        tool: the command's name when it reads the files of another one.
        table: of the sub-command in these files, when each has one.

    Raises:
        CommandError: there is no such format, or a file is wrong.
    """
    if "{" in option:
        return option
    try:
        return chosen_format(option, {**builtin, **_configured(files, table, builtin)}, files, tool, table)
    except ValueError as exc:
        raise CommandError(str(exc)) from None


# -- files


def tool_config(files: str, table: str = "", builtin: Container[str] = ()) -> dict[str, Any]:
    """What the configuration files of a command say, those of the user before those of the site.

    Args:
        files: stem of the files. table: only what they say of this sub-command.
        builtin: names of formats that no file may use for another.

    Raises:
        CommandError: a file is wrong.
    """
    from flux.treedict import dict_merge

    merged: dict[str, Any] = {}
    try:
        for path in find_files(files):
            conf = read_file(path) or {}
            _check(path, conf, _LAYOUTS.get(files), table, builtin)
            merged = dict_merge(merged, conf)
    except ValueError as exc:
        raise CommandError(str(exc)) from None
    found: dict[str, Any] = merged.get(table, {}) if table else merged
    return found


def _check(
    path: str, conf: Any, layout: Mapping[str, tuple[str, ...]] | None, table: str, builtin: Container[str]
) -> None:
    if layout is None:
        _check_table(path, "", conf, ("formats",), builtin)
        return
    _check_keys(path, "", conf, layout)
    for name, value in conf.items():
        _check_table(path, f"{name}.", value, layout[name], builtin if name == table else ())


def _check_table(path: str, prefix: str, conf: Any, keys: tuple[str, ...], builtin: Container[str]) -> None:
    _check_keys(path, prefix, conf, keys)
    check_formats(path, prefix, conf.get("formats", {}), builtin)
    hidden = conf.get("hidden-queues", [])
    if not isinstance(hidden, list) or not all(isinstance(queue, str) for queue in hidden):
        raise ValueError(f"{path}: {prefix}hidden-queues must be a list of strings")


def _check_keys(path: str, prefix: str, conf: Any, keys: Container[str]) -> None:
    if not isinstance(conf, dict):
        raise ValueError(f"{path}: {prefix.rstrip('.') or 'the whole'} must be a mapping")
    for key in conf:
        if key not in keys:
            raise ValueError(f"{path}: invalid key {prefix}{key}")


def _configured(files: str, table: str, builtin: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    formats = tool_config(files, table, builtin).get("formats", {})
    return {name: (str(entry.get("description", "")), entry["format"]) for name, entry in formats.items()}
