"""`--conf=VALUE` of flux-broker(1): changes to the configuration that stand on the command line."""

from __future__ import annotations

import json
import tomllib
from typing import Any

from flux.configfile import read_config
from flux.errors import FluxError

__all__ = ["apply_conf"]


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
        key, _, text = value.partition("=")
        _set(conf, key, text)
    else:
        try:
            _merge(conf, read_config(value))
        except FluxError as exc:
            raise ValueError(f"--conf: {exc}") from None


def _decoded(decode: Any, value: str) -> dict[str, Any]:
    try:
        decoded: dict[str, Any] = decode(value)
    except ValueError as exc:
        raise ValueError(f"--conf={value.splitlines()[0]}: {exc}") from None
    return decoded


def _set(conf: dict[str, Any], key: str, text: str) -> None:
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    *tables, name = key.split(".")
    if not all((*tables, name)):
        raise ValueError(f"--conf={key}=...: the key is TABLE.NAME, without empty parts")
    for part in tables:
        conf = conf.setdefault(part, {})
        if not isinstance(conf, dict):
            raise ValueError(f"--conf={key}=...: {part} is a value, not a table")
    conf[name] = value


def _merge(conf: dict[str, Any], changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        if isinstance(value, dict) and isinstance(conf.get(name), dict):
            _merge(conf[name], value)
        else:
            conf[name] = value
