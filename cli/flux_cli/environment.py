"""The environment of sub-commands: search paths, and the way to a parent instance (flux(1)).

Commands, modules and libraries that come with Flux are found by import, so the paths of the manual have no
"install-path" part here: what a site prepends, then what was there.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping

_PREPENDED = (
    ("FLUX_EXEC_PATH", "FLUX_EXEC_PATH_PREPEND", ":"),
    ("FLUX_MODULE_PATH", "FLUX_MODULE_PATH_PREPEND", ":"),
    ("PYTHONPATH", "FLUX_PYTHONPATH_PREPEND", ":"),
    ("LUA_PATH", "FLUX_LUA_PATH_PREPEND", ";"),
    ("LUA_CPATH", "FLUX_LUA_CPATH_PREPEND", ";"),
)
VARIABLES = (*(name for name, _, _ in _PREPENDED), "PATH", "FLUX_URI")
"""What `flux -v` shows."""


def prepare(environ: MutableMapping[str, str]) -> None:
    """Set the search paths that sub-commands inherit. A second time changes nothing."""
    for name, prepend, separator in _PREPENDED:
        if environ.get(prepend):
            merged = environ[prepend].split(separator) + environ.get(name, "").split(separator)
            environ[name] = _end_marks(separator, environ.get(name, ""), merged)
    for folder in reversed(_folders(environ.get("FLUX_PYTHONPATH_PREPEND", ""))):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    _make_flux_findable(environ)


def _end_marks(separator: str, before: str, parts: list[str]) -> str:
    """Join parts without repetition. In Lua an empty part at the end stands for the default path: kept."""
    joined = separator.join(dict.fromkeys(part for part in parts if part))
    keeps_default = separator == ";" and (not before or before.endswith(";;"))
    return f"{joined};;" if keeps_default else joined


def _folders(path: str) -> list[str]:
    return [folder for folder in path.split(":") if folder]


def _make_flux_findable(environ: MutableMapping[str, str]) -> None:
    """Let `flux` started by its path start others by name: `.venv/bin/flux start flux run ...`."""
    own = os.path.dirname(sys.argv[0])
    if not os.path.isabs(own) and "/" in sys.argv[0]:
        own = os.path.abspath(own)
    if not own or not os.path.isfile(os.path.join(own, "flux")):
        return
    path = environ.get("PATH", os.defpath)
    for folder in _folders(path):
        if folder == own:
            return
        if os.access(os.path.join(folder, "flux"), os.X_OK):
            break
    environ["PATH"] = f"{own}:{path}"


def enter_parent(environ: MutableMapping[str, str]) -> bool:
    """Point FLUX_URI and FLUX_KVS_NAMESPACE at the instance that this one is a job of; False when there is none."""
    from flux.core.handle import Flux

    with Flux(environ.get("FLUX_URI")) as handle:
        try:
            uri = handle.attr_get("parent-uri")
        except FileNotFoundError:
            return False
        environ.pop("FLUX_KVS_NAMESPACE", None)
        try:
            environ["FLUX_KVS_NAMESPACE"] = handle.attr_get("parent-kvs-namespace")
        except FileNotFoundError:
            pass  # the parent's own namespace is the default one
    environ["FLUX_URI"] = uri
    return True
