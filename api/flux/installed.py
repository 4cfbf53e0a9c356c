"""Which plugins are installed, read from the cache of `flux.discovery` with the standard library alone.

Commands ask here: importing the codec that discovery uses takes longer than most of them take to run.
"""

from __future__ import annotations

import os
import sys
import time

from flux import cachefile

TYPE_CHECKING = False
if TYPE_CHECKING:
    Row = tuple[str, str, str, str, str]

__all__ = ["entry_points"]

_TRUSTED = 1.0  # seconds for which what was read is not compared with the file system again, at least


class _Read:
    """What this process has read: kind → name → Row, of these paths, until then by time.monotonic()."""

    def __init__(self) -> None:
        self.table: dict[str, dict[str, Row]] = {}
        self.paths: list[str] = []
        self.until = 0.0


_read = _Read()


def entry_points(kind: str) -> dict[str, Row]:
    """What is installed of a kind (`flux.discovery.KINDS`), by name.

    Returns:
        Name → the fields of `flux.discovery.Entry`: name, kind, "package.module:attribute", distribution, its version.

    Raises:
        PluginError: EIO what is installed cannot be listed.
    """
    begun, paths = time.monotonic(), _paths()
    if begun >= _read.until or paths != _read.paths:
        _read.table = _cached(paths) or _indexed()
        _read.paths, ended = paths, time.monotonic()
        _read.until = ended + max(_TRUSTED, 100 * (ended - begun))  # without a cache it takes long
    return _read.table.get(kind, {})


def _indexed() -> dict[str, dict[str, Row]]:
    from flux.discovery import index

    entries = index().entries
    return {
        kind: {name: (e.name, e.kind, e.target, e.dist, e.version) for name, e in found.items()}
        for kind, found in entries.items()
    }


def _cached(paths: list[str]) -> dict[str, dict[str, Row]] | None:
    """None when discovery has to be asked itself: there is no cache, or something was installed."""
    import json

    path = cachefile.cache_path("index", "\0".join([sys.version, *paths]))
    data = cachefile.read_bytes(path) if path else None
    if data is None:
        return None
    try:
        record = json.loads(data)
        if record["interpreter"] != sys.version or [d[0] for d in record["directories"]] != paths:
            return None
        if any(list(cachefile.stamp(s[0])) != s for s in record["directories"] + record["files"]):
            return None
        entries = record["index"]["entries"]
        return {kind: {name: _row(*row) for name, row in found.items()} for kind, found in entries.items()}
    except (ValueError, LookupError, TypeError, AttributeError):
        return None  # written by another version of flux: discovery replaces it


def _row(name: str, kind: str, target: str, dist: str = "", version: str = "") -> Row:
    return name, kind, target, dist, version


def _paths() -> list[str]:
    return list(dict.fromkeys(path for path in sys.path if os.path.isabs(path)))
