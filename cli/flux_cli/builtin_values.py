"""Where this installation keeps what others ask `flux config builtin` for (flux-config(1))."""

from __future__ import annotations

import os
import sys

__all__ = ["builtin_values"]


def builtin_values() -> dict[str, str]:
    """Name to value. Empty where this Flux has nothing of the kind, or finds it by import."""
    import flux
    import flux_plugins
    from flux_cli import manpage

    plugins = os.path.dirname(os.path.abspath(flux_plugins.__file__))
    commands = os.path.dirname(sys.executable)
    manual = manpage.find("flux")
    return {
        "rc1_path": "",
        "rc3_path": "",
        "shell_path": os.path.join(commands, "flux-shell"),
        "shell_pluginpath": "",
        "shell_initrc": "/etc/flux/shell/initrc.lua",
        "jobtap_pluginpath": os.path.join(plugins, "jobtap"),
        "rundir": "/run/flux",
        "confdir": "/etc/flux",
        "libexecdir": commands,
        "lua_cpath_add": "",
        "lua_path_add": "",
        "python_path": os.path.dirname(os.path.dirname(os.path.abspath(flux.__file__))),
        "man_path": os.path.dirname(manual) if manual else "",
        "exec_path": commands,
        "connector_path": os.path.join(plugins, "connectors"),
        "module_path": plugins,
        "pmi_library_path": "",
        "cmdhelp_pattern": "",
        "no_docs_path": "",
    }
