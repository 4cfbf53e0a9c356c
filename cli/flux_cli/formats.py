"""Formats that have names: a command's own and those of configuration files (flux-jobs(1), CONFIGURATION)."""

from __future__ import annotations

import os
import re

from flux.toolconfig import find_files, read_file
from flux_cli.common import die

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
    formats = {**builtin, **_configured(files, table, builtin)}
    if option == "help":
        _print_names(files, formats)
        return None
    if option.startswith("get-config="):
        _print_config(option.removeprefix("get-config="), formats, f"{table}." if table else "")
        return None
    if option == "default":
        option = os.environ.get(_default_variable(tool or files, table), option)
        if "{" in option:
            return option
    if option not in formats:
        meant = re.sub(r"\w+", r"{\g<0>}", option)
        die(f"--format: No such format {option} (Did you mean '{meant}'?)")
    return formats[option][1]


def _default_variable(tool: str, table: str) -> str:
    """What in the environment says which format is the default one."""
    return f"{tool}_{table}".strip("_").upper().replace("-", "_") + "_FORMAT_DEFAULT"


def _print_names(files: str, formats: Mapping[str, tuple[str, str]]) -> None:
    print(f"\nConfigured {files} output formats:\n")
    for name, (description, _) in formats.items():
        print(f"  {name:<12} {description}".rstrip())


def _print_config(name: str, formats: Mapping[str, tuple[str, str]], prefix: str) -> None:
    if name not in formats:
        die(f"--format: No such format {name}: there are {', '.join(formats)}")
    description, text = formats[name]
    print(f"[{prefix}formats.{name}]")
    for key, value in (("description", description), ("format", text)):
        print(f"{key} = {_quoted(value)}")


def _quoted(text: str) -> str:
    """A TOML string."""
    import json

    return json.dumps(text, ensure_ascii=False)


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
    for path in find_files(files):
        try:
            conf = read_file(path) or {}
        except ValueError as exc:
            die(str(exc))
        _check(path, conf, _LAYOUTS.get(files))
        own = conf.get(table, {}) if table else conf
        for name in own.get("formats", {}):
            if name in builtin:
                die(f"{path}: override of builtin format '{name}' not permitted")
        merged = dict_merge(merged, conf)
    found: dict[str, Any] = merged.get(table, {}) if table else merged
    return found


def _check(path: str, conf: Any, layout: Mapping[str, tuple[str, ...]] | None) -> None:
    if layout is None:
        _check_table(path, "", conf, ("formats",))
        return
    _check_keys(path, "", conf, layout)
    for table, value in conf.items():
        _check_table(path, f"{table}.", value, layout[table])


def _check_table(path: str, prefix: str, conf: Any, keys: tuple[str, ...]) -> None:
    _check_keys(path, prefix, conf, keys)
    formats = conf.get("formats", {})
    if not isinstance(formats, dict):
        die(f"{path}: the '{prefix}formats' key must be a mapping")
    for name, entry in formats.items():
        _check_format(path, f"{prefix}formats.{name}", entry)
    hidden = conf.get("hidden-queues", [])
    if not isinstance(hidden, list) or not all(isinstance(queue, str) for queue in hidden):
        die(f"{path}: {prefix}hidden-queues must be a list of strings")


def _check_keys(path: str, prefix: str, conf: Any, keys: Container[str]) -> None:
    if not isinstance(conf, dict):
        die(f"{path}: {prefix.rstrip('.') or 'the whole'} must be a mapping")
    for key in conf:
        if key not in keys:
            die(f"{path}: invalid key {prefix}{key}")


def _check_format(path: str, what: str, entry: Any) -> None:
    if not isinstance(entry, dict):
        die(f"{path}: '{what}' must be a mapping")
    if "format" not in entry:
        die(f"{path}: {what}: required key 'format' missing")
    if not isinstance(entry["format"], str):
        die(f"{path}: {what}: 'format' key must be a string")


def _configured(files: str, table: str, builtin: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    formats = tool_config(files, table, builtin).get("formats", {})
    return {name: (str(entry.get("description", "")), entry["format"]) for name, entry in formats.items()}
