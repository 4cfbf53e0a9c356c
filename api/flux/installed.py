"""Which plugins are installed, read from the cache of `flux.discovery` with the standard library alone.

Commands ask here: importing the codec that discovery uses takes longer than most of them take to run.
"""

from __future__ import annotations

import os
import sys

from flux import cachefile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Row = tuple[str, str, str, str, str]

__all__ = ["entry_points"]

_read: dict[str, Any] | None = None  # the record that this process has read


def entry_points(kind: str) -> dict[str, Row]:
    """What is installed of a kind (`flux.discovery.KINDS`), by name.

    Returns:
        Name → the fields of `flux.discovery.Entry`: name, kind, "package.module:attribute", distribution, its version.

    Raises:
        PluginError: EIO what is installed cannot be listed.
    """
    cached = _cached(kind)
    if cached is not None:
        return cached
    from flux.discovery import index

    entries = index().entries.get(kind, {})
    return {name: (e.name, e.kind, e.target, e.dist, e.version) for name, e in entries.items()}


def _cached(kind: str) -> dict[str, Row] | None:
    """None when discovery has to be asked itself: there is no cache, or something was installed."""
    global _read
    record = _read or _record()
    try:
        if record is None or not _holds(record):
            _read = None
            return None
        rows = {name: _row(*row) for name, row in record["index"]["entries"].get(kind, {}).items()}
    except (ValueError, LookupError, TypeError, AttributeError):
        return None  # written by another version of flux: discovery replaces it
    _read = record
    return rows


def _row(name: str, kind: str, target: str, dist: str = "", version: str = "") -> Row:
    return name, kind, target, dist, version


def _paths() -> list[str]:
    return list(dict.fromkeys(path for path in sys.path if os.path.isabs(path)))


def _record() -> Any:
    import json

    path = cachefile.cache_path("index", "\0".join([sys.version, *_paths()]))
    data = cachefile.read_bytes(path) if path else None
    try:
        return None if data is None else json.loads(data)
    except ValueError:
        return None


def _holds(record: Any) -> bool:
    if record["interpreter"] != sys.version or [d[0] for d in record["directories"]] != _paths():
        return False
    return all(list(cachefile.stamp(s[0])) == s for s in record["directories"] + record["files"])
