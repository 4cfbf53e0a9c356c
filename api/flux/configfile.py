"""Reads the configuration object of an instance from TOML or JSON files (flux-config(5))."""

from __future__ import annotations

import errno
import os
from typing import Any

from flux.errors import FluxError

__all__ = ["TABLES", "read_config", "unknown_tables"]

TABLES = frozenset(
    "access archive bootstrap content cron exec heartbeat imp ingest job-list job-manager job-shell kvs policy queues "
    "resource sched-fluxion-qmanager sched-fluxion-resource sched-simple sign systemd tbon".split()
)
"""The tables that Flux knows."""


def read_config(path: str | None) -> dict[str, Any]:
    """The configuration object in a file, or in the *.toml files of a directory; {} without a path.

    Raises:
        FluxError: EINVAL naming the file and the line of a mistake, or the errno of a file that cannot be read.
    """
    if not path:
        return {}
    conf: dict[str, Any] = {}
    for file in _files(path):
        for name, table in _read(file).items():
            if name in conf:
                raise FluxError(errno.EINVAL, f"configuration {file}: table [{name}] is in another file of {path} too")
            conf[name] = table
    return conf


def _files(path: str) -> list[str]:
    if not os.path.isdir(path):
        return [path]
    names = sorted(name for name in os.listdir(path) if name.endswith(".toml") and name != "plugins.toml")
    return [os.path.join(path, name) for name in names]


def _read(file: str) -> dict[str, Any]:
    import json
    import tomllib

    try:
        with open(file, "rb") as stream:
            tables = json.load(stream) if file.endswith(".json") else tomllib.load(stream)
    except OSError as exc:
        raise FluxError(exc.errno or errno.EIO, f"configuration {file}: {exc.strerror}") from None
    except ValueError as exc:
        raise FluxError(errno.EINVAL, f"configuration {file}: {exc}") from None
    if not isinstance(tables, dict):
        raise FluxError(errno.EINVAL, f"configuration {file}: it holds no object of tables")
    return tables


def unknown_tables(conf: dict[str, Any]) -> list[str]:
    """A line for each table that Flux does not know, with the name that is nearest."""
    from difflib import get_close_matches

    lines = []
    for name in conf:
        if name not in TABLES:
            near = get_close_matches(name, TABLES, 1)
            lines.append(f"unknown table [{name}]" + (f": did you mean [{near[0]}]?" if near else ""))
    return lines
