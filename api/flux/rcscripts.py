"""Where the scripts of an instance's start and end are: rc1.d and rc3.d (flux-broker(1), STAGES)."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["script_folders", "script_paths"]


def script_folders(config_path: str | None, extra: str | None) -> list[str]:
    """Where rc1.d and rc3.d are looked for: beside the configuration, then in each folder of FLUX_RC_EXTRA."""
    folders = [folder for folder in (extra or "").split(":") if folder]
    if config_path:
        folders.insert(0, config_path if os.path.isdir(config_path) else os.path.dirname(config_path))
    return folders


def script_paths(folders: Sequence[str], name: str) -> list[str]:
    """The executable files of FOLDER/NAME.d, folder by folder, by name. OSError for one that cannot be read."""
    found = []
    for folder in folders:
        home = os.path.join(folder, f"{name}.d")
        paths = (os.path.join(home, file) for file in sorted(os.listdir(home) if os.path.isdir(home) else ()))
        found += [path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)]
    return found
