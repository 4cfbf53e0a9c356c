"""The configuration of an instance that is to be started as a job (flux-batch(1), --conf)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from flux.configvalues import apply_conf, apply_file, apply_setting
from flux.treedict import get_treedict

__all__ = ["BatchConfig", "batch_config", "normalize_conf"]


class BatchConfig:
    """A configuration that is put together of values, for an instance that is to be started.

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
        apply_setting(self._opened(), keyval)
        return self

    def update_file(self, path: str) -> BatchConfig:
        """Merge a file."""
        apply_file(self._opened(), path)
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


def batch_config(settings: Iterable[str] | BatchConfig) -> BatchConfig:
    """What several values make, one after the other; a BatchConfig as it is."""
    if isinstance(settings, BatchConfig):
        return settings
    conf = BatchConfig()
    for value in settings:
        conf.update(value)
    return conf


def normalize_conf(conf: Mapping[str, Any] | BatchConfig | str | None) -> dict[str, Any] | None:
    """A configuration given as an object, a BatchConfig or a value for one, as an object; None as None."""
    if conf is None:
        return None
    if isinstance(conf, Mapping):
        return dict(conf)
    return (conf if isinstance(conf, BatchConfig) else BatchConfig().update(conf)).config
