"""Formats that have names: a command's own and those of configuration files (flux-jobs(1), CONFIGURATION)."""

from __future__ import annotations

import os
import re

from flux.toolconfig import find_files, read_file
from flux_cli.common import die

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

__all__ = ["format_text", "named_format"]


def format_text(option: str, builtin: Mapping[str, tuple[str, str]], files: str, tool: str = "") -> str | None:
    """The format that --format asks for; None when it asked for help or a configuration, which was printed.

    Args:
        option: a format, the name of one, "help", or "get-config=NAME".
        builtin: name to description and format.
        files: stem of the configuration files, such as "flux-jobs".
        tool: the command's name when it reads the files of another one.

    Raises:
        CommandError: there is no such format, or a file is wrong.
    """
    if "{" in option:
        return option
    formats = {**builtin, **_configured(files, builtin)}
    if option == "help":
        _print_names(files, formats)
        return None
    if option.startswith("get-config="):
        _print_config(option.removeprefix("get-config="), formats)
        return None
    if option == "default":
        option = os.environ.get(f"{(tool or files).upper().replace('-', '_')}_FORMAT_DEFAULT", option)
        if "{" in option:
            return option
    return named_format(option, {name: text for name, (_, text) in formats.items()})


def named_format(text: str, formats: Mapping[str, str]) -> str:
    """The format that `text` names in `formats`, or is.

    Raises:
        CommandError: it is no name, and it has no field.
    """
    if text not in formats and "{" not in text:
        meant = re.sub(r"\w+", r"{\g<0>}", text)
        die(f"--format: No such format {text} (Did you mean '{meant}'?)")
    return formats.get(text, text)


def _print_names(files: str, formats: Mapping[str, tuple[str, str]]) -> None:
    print(f"\nConfigured {files} output formats:\n")
    for name, (description, _) in formats.items():
        print(f"  {name:<12} {description}".rstrip())


def _print_config(name: str, formats: Mapping[str, tuple[str, str]]) -> None:
    if name not in formats:
        die(f"--format: No such format {name}: there are {', '.join(formats)}")
    description, text = formats[name]
    print(f"[formats.{name}]")
    for key, value in (("description", description), ("format", text)):
        print(f"{key} = {_quoted(value)}")


def _quoted(text: str) -> str:
    """A TOML string."""
    import json

    return json.dumps(text, ensure_ascii=False)


# -- files


def _configured(stem: str, builtin: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for path in find_files(stem):
        found.update(_read(path, builtin))
    return found


def _read(path: str, builtin: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, str]]]:
    try:
        conf = read_file(path)
    except ValueError as exc:
        die(str(exc))
    for key in conf or {}:
        if key != "formats":
            die(f"{path}: invalid key {key}")
    formats = (conf or {}).get("formats", {})
    if not isinstance(formats, dict):
        die(f"{path}: the 'formats' key must be a mapping")
    for name, entry in formats.items():
        yield name, _entry(path, name, entry, builtin)


def _entry(path: str, name: str, entry: Any, builtin: Mapping[str, Any]) -> tuple[str, str]:
    if name in builtin:
        die(f"{path}: override of builtin format '{name}' not permitted")
    if not isinstance(entry, dict):
        die(f"{path}: 'formats.{name}' must be a mapping")
    if "format" not in entry:
        die(f"{path}: formats.{name}: required key 'format' missing")
    if not isinstance(entry["format"], str):
        die(f"{path}: formats.{name}: 'format' key must be a string")
    return str(entry.get("description", "")), entry["format"]
