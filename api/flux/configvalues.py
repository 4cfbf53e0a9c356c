"""Values that change a configuration: `--conf=VALUE` of flux-broker(1), flux-batch(1) and flux-alloc(1)."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from typing import Any

from flux.configfile import read_config
from flux.errors import FluxError
from flux.treedict import dict_merge, set_treedict

__all__ = ["apply_conf", "apply_file", "apply_setting"]


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
        apply_setting(conf, value)
    else:
        apply_file(conf, value)


def _decoded(decode: Any, value: str) -> Any:
    try:
        return decode(value)
    except ValueError as exc:
        raise ValueError(f"--conf={value.strip().partition(chr(10))[0]}: {exc}") from None


def _merge(conf: dict[str, Any], changes: Any) -> None:
    if not isinstance(changes, Mapping):
        raise ValueError(f"--conf: expected an object of tables, got {changes!r}")
    dict_merge(conf, changes)


def apply_setting(conf: dict[str, Any], setting: str) -> None:
    """Change conf by KEY=VALUE. ValueError as above."""
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


def apply_file(conf: dict[str, Any], path: str) -> None:
    """Change conf by what a file of TOML or JSON holds. ValueError as above."""
    try:
        dict_merge(conf, read_config(path))
    except FluxError as exc:
        raise ValueError(f"--conf: {exc}") from None
