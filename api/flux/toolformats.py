"""Output formats that have names: the choice of one, and what configuration files may say of them (flux-jobs(1))."""

from __future__ import annotations

import os
import re

TYPE_CHECKING = False  # typing takes longer to import than a small command takes to run
if TYPE_CHECKING:
    from collections.abc import Container, Mapping
    from typing import Any

__all__ = ["check_formats", "chosen_format"]


def chosen_format(
    option: str, formats: Mapping[str, tuple[str, str]], files: str, tool: str = "", table: str = ""
) -> str | None:
    """The format that --format asks for; None when it asked for help or a configuration, which was printed.

    Args:
        option: a format, the name of one, "help", or "get-config=NAME".
        formats: name to description and format.
        files: stem of the configuration files, such as "flux-jobs".
        tool: the command's name when it reads the files of another one.
        table: of the sub-command in these files, when each has one.

    Raises:
        ValueError: there is no such format.
    """
    if "{" in option:
        return option
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
        raise ValueError(f"--format: No such format {option} (Did you mean '{meant}'?)")
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
        raise ValueError(f"--format: No such format {name}: there are {', '.join(formats)}")
    description, text = formats[name]
    print(f"[{prefix}formats.{name}]")
    for key, value in (("description", description), ("format", text)):
        print(f"{key} = {_quoted(value)}")


def _quoted(text: str) -> str:
    """A TOML string."""
    import json

    return json.dumps(text, ensure_ascii=False)


def check_formats(path: str, prefix: str, formats: Any, builtin: Container[str] = ()) -> None:
    """Check the table `formats` of a configuration file. ValueError names what is wrong.

    Args:
        prefix: "TABLE." when it is that of a sub-command. builtin: names that no file may use for another format.
    """
    if not isinstance(formats, dict):
        raise ValueError(f"{path}: the '{prefix}formats' key must be a mapping")
    for name, entry in formats.items():
        if name in builtin:
            raise ValueError(f"{path}: override of builtin format '{name}' not permitted")
        _check_format(path, f"{prefix}formats.{name}", entry)


def _check_format(path: str, what: str, entry: Any) -> None:
    if not isinstance(entry, dict):
        raise ValueError(f"{path}: '{what}' must be a mapping")
    if "format" not in entry:
        raise ValueError(f"{path}: {what}: required key 'format' missing")
    if not isinstance(entry["format"], str):
        raise ValueError(f"{path}: {what}: 'format' key must be a string")
