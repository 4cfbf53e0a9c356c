"""Import files and packages of plugins by hand (manual page ``flux.importer``)."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from types import ModuleType

__all__ = ["import_path", "import_plugins", "import_plugins_pkg"]


def import_path(file_path: str | os.PathLike[str]) -> ModuleType:
    """Import the module in a file, afresh each time. FluxError EINVAL names the file and line that is wrong."""
    from flux.discovery import execute_file

    return execute_file(os.path.abspath(file_path))


def import_plugins_pkg(ns_pkg: ModuleType) -> dict[str, ModuleType]:
    """Import all modules right below a package; by name. ImportError names the one that fails."""
    found = {}
    for module in pkgutil.iter_modules(ns_pkg.__path__):
        try:
            found[module.name] = importlib.import_module(f"{ns_pkg.__name__}.{module.name}")
        except ImportError as exc:
            raise ImportError(f"cannot import plugin {module.name}: {exc}") from exc
    return found


def import_plugins(pkg_name: str, pluginpath: Sequence[str] | None = None) -> dict[str, ModuleType]:
    """Import all modules of a package, which may be spread over several folders; {} when there is no such package.

    Args:
        pluginpath: folders to look into before those of sys.path.
    """
    folders = list(pluginpath or ())
    sys.path[1:1] = folders
    try:
        return import_plugins_pkg(importlib.import_module(pkg_name))
    except ModuleNotFoundError as exc:
        if exc.name != pkg_name:
            raise
        return {}
    finally:
        for folder in folders:
            sys.path.remove(folder)
