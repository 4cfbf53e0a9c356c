"""Where this installation keeps what others ask for by name: flux-config(1) builtin, broker.conf-builtin."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

__all__ = ["RUNDIR", "builtin_values"]

RUNDIR = "/run/flux"
"""Run directory of a system instance, whose socket is `local` in it."""

_HERE = os.path.dirname(os.path.abspath(__file__))


def builtin_values() -> dict[str, str]:
    """Name to value. Empty where this Flux has nothing of the kind, or finds it by import."""
    plugins, commands = _folder("flux_plugins"), os.path.dirname(sys.executable)
    return {
        "rc1_path": "",
        "rc3_path": "",
        "shell_path": os.path.join(commands, "flux-shell"),
        "shell_pluginpath": "",
        "shell_initrc": "/etc/flux/shell/initrc.lua",
        "jobtap_pluginpath": os.path.join(plugins, "jobtap"),
        "rundir": RUNDIR,
        "confdir": "/etc/flux",
        "libexecdir": commands,
        "lua_cpath_add": "",
        "lua_path_add": "",
        "python_path": os.path.dirname(_HERE),
        "man_path": _manual(),
        "exec_path": commands,
        "connector_path": os.path.join(plugins, "connectors"),
        "module_path": plugins,
        "pmi_library_path": "",
        "cmdhelp_pattern": "",
        "no_docs_path": "",
    }


def _folder(package: str) -> str:
    """Of a package that belongs to this installation, found without importing it."""
    spec = find_spec(package)
    return os.path.dirname(spec.origin) if spec is not None and spec.origin else ""


def _manual() -> str:
    """Installed beside the commands, or in a source tree."""
    commands = _folder("flux_cli")
    folders = (os.path.join(commands, "man"), os.path.normpath(os.path.join(commands, "..", "..", "docs", "man")))
    return next((folder for folder in folders if os.path.isdir(folder)), "")
