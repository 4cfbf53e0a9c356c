"""The content-files module: service `content-backing` on rank 0, over a folder with one file per blob."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from flux.backing import BackingStore
from flux.collecting import CollectingModule
from flux_plugins.content_files.folder import Folder

__all__ = ["ContentFiles", "Options"]


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of the content-files module.

    Attributes:
        path: of the folder; default: attribute content.backing-path, else "content.files" in statedir, else in rundir.
        reserve: bytes kept aside on a lasting disk, for what has been acknowledged when the disk is full.
    """

    path: str = ""
    reserve: int = 4 << 20


class ContentFiles(CollectingModule):
    """Keep blobs and checkpoints in files."""

    name = "content-files"
    options_type = Options

    async def opener(self) -> Callable[[], BackingStore]:
        path, durable = await self.choose_path(self.options.path, "content.files")
        reserve = self.options.reserve if durable else 0
        return lambda: Folder(path, self.hash_name, durable, reserve=reserve)
