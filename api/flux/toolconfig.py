"""Configuration files of commands and of programs like them (flux-jobs(1), CONFIGURATION; ``flux.util.UtilConfig``)."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # typing takes longer to import than a small command takes to run
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import Any, BinaryIO, Self

__all__ = ["UtilConfig", "find_files", "read_file", "xdg_searchpath"]


def _folders(subdir: str = "") -> list[str]:
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    dirs = (os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")
    return [os.path.join(directory, "flux", *([subdir] if subdir else [])) for directory in (home, *dirs)]


def xdg_searchpath(subdir: str = "") -> list[Path]:
    """Where configuration files are looked for, the user's folder first, then the site's (XDG base directories)."""
    from pathlib import Path

    return [Path(folder) for folder in _folders(subdir)]


def find_files(stem: str) -> Iterator[str]:
    """The files STEM.json, .toml and .yaml, the site's before the user's: what is read later wins."""
    for folder in reversed(_folders()):
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            if name.startswith(f"{stem}.") and os.path.splitext(name)[1] in _LOADERS:
                yield os.path.join(folder, name)


def read_file(path: str) -> Any:
    """What a file holds, by its extension. ValueError "PATH: reason" when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return _LOADERS[os.path.splitext(path)[1]](file)
    except (OSError, ValueError) as exc:
        raise ValueError(f"{path}: {exc}") from None


def _load_toml(file: BinaryIO) -> Any:
    import tomllib

    return tomllib.load(file)


def _load_json(file: BinaryIO) -> Any:
    import json

    return json.load(file)


def _load_yaml(file: BinaryIO) -> Any:
    import yaml

    try:
        return yaml.safe_load(file)
    except yaml.YAMLError as exc:
        raise ValueError(str(exc)) from None


_LOADERS: dict[str, Callable[[BinaryIO], Any]] = {".json": _load_json, ".toml": _load_toml, ".yaml": _load_yaml}


class UtilConfig:
    """A program's defaults and what files say in their place; keys of the result are attributes too.

    Args:
        name: stem of the files. toolname: of the program when that is another one.
        subcommand: take only the table of that name.
        initial_dict: the defaults.

    Attributes:
        config: the result, after `load`.
        builtin_formats: for programs to set: formats that files add to, NAME = {description, format} (by sub-command,
            where there are such).
    """

    builtin_formats: Mapping[str, Any] = {}

    def __init__(
        self,
        name: str,
        toolname: str | None = None,
        subcommand: str | None = None,
        initial_dict: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.toolname = toolname or name
        self._subcommand = subcommand
        self._defaults = dict(initial_dict or {})
        self.config: dict[str, Any] = self._chosen(self._defaults)

    def load(self) -> Self:
        """Read the files. ValueError when one is wrong."""
        from copy import deepcopy

        from flux.treedict import dict_merge

        merged = deepcopy(self._defaults)
        for path in find_files(self.name):
            conf = read_file(path) or {}
            if not isinstance(conf, dict):
                raise ValueError(f"{path}: a table is expected, not {type(conf).__name__}")
            self.validate(path, conf)
            merged = dict_merge(merged, conf)
        self.config = self._chosen(merged)
        return self

    def _chosen(self, conf: Mapping[str, Any]) -> dict[str, Any]:
        return dict(conf if self._subcommand is None else conf.get(self._subcommand, {}))

    def validate(self, path: str, conf: dict[str, Any]) -> None:
        """For programs to override: raise ValueError when a file should not have what it has."""

    def validate_formats(self, path: str, formats: Any) -> None:
        """For `validate`: check a table of formats. ValueError names what is wrong, or is builtin."""
        from flux.toolformats import check_formats

        check_formats(path, "", formats, self.builtin_formats.get(self._subcommand or "", self.builtin_formats))

    def get_format_string(self, format_name: str) -> str:
        """The format of a name in the table `formats`; "help" and "get-config=NAME" print, and end the program.

        ValueError when there is none of that name.
        """
        from flux.toolformats import chosen_format

        formats = self.config.get("formats", {})
        named = {name: (entry.get("description", ""), entry["format"]) for name, entry in formats.items()}
        found = chosen_format(format_name, named, self.name, self.toolname, self._subcommand or "")
        if found is None:
            raise SystemExit(0)
        return found

    def __getattr__(self, name: str) -> Any:
        config = self.__dict__.get("config", {})
        if name not in config:
            raise AttributeError(f"no '{name}' is configured", name=name, obj=self)
        return config[name]
