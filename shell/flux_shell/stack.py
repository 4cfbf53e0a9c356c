"""The plugin stack of a shell: what is installed, in order, under one caller (flux-shell(1), PLUGINS)."""

from __future__ import annotations

import errno
from typing import Any

from flux.discovery import PluginError, index, load
from flux.hooks import shell as specs
from flux.hooks.host import PluginHost

__all__ = ["BUILTINS", "build", "hook_name", "load_file", "register", "topic_name"]

BUILTINS = (
    "tmpdir",
    "files",
    "batch",
    "stage-in",
    "env-expand",
    "rlimit",
    "taskmap",
    "affinity",
    "hwloc",
    "gpubind",
    "mpi",
    "pmi",
    "mpir",
    "pty",
    "input",
    "output",
    "coprocess",
    "kill",
    "rexec",
    "tasks-complete",
    "doom",
    "exception",
    "oom",
    "signal",
    "sysmon",
    "resource-update",
)
"""Names of the builtin plugins, in the order of their calls; those that other distributions add come after them."""


def build() -> PluginHost:
    """Load every installed shell plugin. PluginError names the one that cannot be loaded."""
    host = PluginHost("flux-shell", specs)
    installed = index()
    names = installed.names("shell")
    for name in [*BUILTINS, *sorted(set(names) - set(BUILTINS))]:
        found, _origin = load("shell", name, installed=installed)
        register(host, name, found)
    return host


def register(host: PluginHost, name: str, found: Any) -> None:
    """Add a plugin, a class to be instantiated or an object; one of the same name is replaced."""
    if name in host.names():
        host.unregister(name)
    host.register(found() if isinstance(found, type) else found, name)


def load_file(host: PluginHost, path: str) -> None:
    """Load a plugin from a Python file. PluginError when it cannot be loaded."""
    found, origin = load("shell", path)
    register(host, getattr(found, "name", None) or origin.entry.name, found)


def hook_name(topic: str) -> str:
    """ "shell.post-init" to "shell_post_init"."""
    return topic.replace(".", "_").replace("-", "_")


def topic_name(hook: str) -> str:
    """ "shell_post_init" to "shell.post-init". PluginError when it is neither a shell nor a task hook."""
    head, sep, tail = hook.partition("_")
    if not sep:
        raise PluginError(errno.EINVAL, f"{hook} is no name of a hook")
    return f"{head}.{tail.replace('_', '-')}"
