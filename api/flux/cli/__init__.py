"""What commands that submit jobs are made of, for programs and sites: the meaning of their options, and their plugins.

`flux.cli.plugin` is how a site adds options to them (manual page flux-submit(1), PLUGINS).
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # typing takes longer to import than a small command takes to run
if TYPE_CHECKING:
    from collections.abc import Iterator

    from flux.installed import Row

__all__ = ["plugin_files", "plugin_folders", "plugin_points"]

_FOLDER = "/etc/flux/cli/plugins"


def plugin_folders() -> list[str]:
    """Where plugins are looked for: those of $FLUX_CLI_PLUGINPATH first, or just $FLUX_CLI_PLUGINPATH_OVERRIDE."""
    override = os.environ.get("FLUX_CLI_PLUGINPATH_OVERRIDE")
    if override is not None:
        return _split(override)
    return [*_split(os.environ.get("FLUX_CLI_PLUGINPATH", "")), _FOLDER]


def _split(path: str) -> list[str]:
    return [folder for folder in path.split(":") if folder.strip()]


def plugin_files() -> Iterator[str]:
    """The files of plugins, in the order of the folders, each by name."""
    for folder in plugin_folders():
        try:
            names = sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            continue  # a folder may be named for sites that have one
        yield from (os.path.join(folder, name) for name in names if name.endswith(".py"))


def plugin_points() -> dict[str, Row]:
    """The plugins of installed distributions, by name; none with $FLUX_CLI_PLUGINPATH_OVERRIDE."""
    from flux.installed import entry_points

    return {} if "FLUX_CLI_PLUGINPATH_OVERRIDE" in os.environ else entry_points("cli")
