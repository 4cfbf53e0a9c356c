"""Values that change a configuration: `--conf=VALUE` of flux-broker(1), flux-batch(1) and flux-alloc(1)."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from typing import Any

from flux.configfile import read_config
from flux.errors import FluxError
from flux.treedict import dict_merge, get_treedict, set_treedict

__all__ = ["BatchConfig", "apply_conf", "normalize_conf"]


def apply_conf(conf: dict[str, Any], value: str) -> None:
    """Change conf by KEY=VALUE, a JSON object, TOML text of several lines, or the path of a file.

    Raises:
        ValueError: saying what is wrong with value.
    """
    if value.startswith("{"):
        _merge(conf, _decoded(json.loads, value))
    elif "\n" in value:
        _merge(conf, _decoded(tomllib.loads, value))
    elif "=" in value:
        _set(conf, value)
    else:
        _merge_file(conf, value)


def _decoded(decode: Any, value: str) -> Any:
    try:
        return decode(value)
    except ValueError as exc:
        raise ValueError(f"--conf={value.strip().partition(chr(10))[0]}: {exc}") from None


def _merge(conf: dict[str, Any], changes: Any) -> None:
    if not isinstance(changes, Mapping):
        raise ValueError(f"--conf: expected an object of tables, got {changes!r}")
    dict_merge(conf, changes)


def _set(conf: dict[str, Any], setting: str) -> None:
    key, _, text = setting.partition("=")
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if not all(key.split(".")):
        raise ValueError(f"--conf={key}=...: the key is TABLE.NAME, without empty parts")
    try:
        set_treedict(conf, key, value)
    except TypeError as exc:
        raise ValueError(f"--conf={key}=...: {exc}") from None


def _merge_file(conf: dict[str, Any], path: str) -> None:
    try:
        dict_merge(conf, read_config(path))
    except FluxError as exc:
        raise ValueError(f"--conf: {exc}") from None


class BatchConfig:
    """A configuration that is put together of values, for an instance that is to be started (``flux.job``).

    Attributes:
        config: what has come of it; None before the first update.
    """

    def __init__(self) -> None:
        self.config: dict[str, Any] | None = None

    def update(self, value: str) -> BatchConfig:
        """Change it by KEY=VALUE, JSON or TOML text, the path of a file that ends in .toml or .json, or a name.

        A name is looked for as NAME.toml and NAME.json in the folders `flux/config` of the user's and the site's
        configuration (XDG base directories). Returns itself. ValueError says what is wrong with the value.
        """
        if value.startswith("{") or "\n" in value:
            return self.update_string(value)
        if "=" in value:
            return self.update_keyval(value)
        if value.endswith((".json", ".toml")) or "/" in value:
            return self.update_file(value)
        return self.update_named_config(value)

    def update_string(self, value: str) -> BatchConfig:
        """Merge JSON or TOML text."""
        apply_conf(self._opened(), value if value.lstrip().startswith("{") else f"{value}\n")
        return self

    def update_keyval(self, keyval: str) -> BatchConfig:
        """Set TABLE.NAME=VALUE; VALUE is JSON or text."""
        _set(self._opened(), keyval)
        return self

    def update_file(self, path: str) -> BatchConfig:
        """Merge a file."""
        _merge_file(self._opened(), path)
        return self

    def update_named_config(self, name: str) -> BatchConfig:
        """Merge the first file of that name."""
        from flux.toolconfig import xdg_searchpath

        places = [str(place) for place in xdg_searchpath("config")]
        files = [f"{place}/{name}.{suffix}" for place in places for suffix in ("toml", "json")]
        found = next(filter(os.path.exists, files), None)
        if found is None:
            raise ValueError(f"--conf: there is no '{name}.toml' or '{name}.json' in {', '.join(places)}")
        return self.update_file(found)

    def get(self, key: str, default: Any = None) -> Any:
        """The value at a dotted key; default when there is none."""
        return get_treedict(self.config or {}, key, default)

    def _opened(self) -> dict[str, Any]:
        if self.config is None:
            self.config = {}
        return self.config


def normalize_conf(conf: Mapping[str, Any] | BatchConfig | str | None) -> dict[str, Any] | None:
    """A configuration given as an object, a BatchConfig or a value for one, as an object; None as None."""
    if conf is None:
        return None
    if isinstance(conf, Mapping):
        return dict(conf)
    return (conf if isinstance(conf, BatchConfig) else BatchConfig().update(conf)).config
