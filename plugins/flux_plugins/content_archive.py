"""The content-archive module: restores the key-value store before it starts, and dumps it once it has stopped.

What to restore and where to dump is in the attributes content.restore and content.dump (flux-broker-attributes(7)):
paths, or "auto" for the folder `dump`, where the link RESTORE names what the next start restores. The archives are
those of flux-restore(1) and flux-dump(1), which do the work in processes of their own.
"""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import time
from pathlib import Path
from typing import Any

from flux.errors import FluxError
from flux.module import Module

__all__ = ["ContentArchive"]

_AUTO = "auto"
_SWEEP = {"delete_cap": 20_000, "window": 20_000}
_DUMP = ("dump", "--sd-notify", "--quiet", "--ignore-failed-read", "--no-cache", "--checkpoint")
_RESTORE = ("restore", "--sd-notify", "--quiet", "--no-cache", "--checkpoint")


class ContentArchive(Module):
    """Restores and dumps what the instance keeps."""

    name = "content-archive"
    requires = ("content",)
    after = ("content", "content-sqlite", "content-files", "content-s3")
    before = ("kvs",)
    ranks = "0"

    async def start(self) -> None:
        wanted = await self._attribute("content.restore")
        if not wanted:
            return
        link = await self._folder() / "RESTORE" if wanted == _AUTO else None
        if link is None:
            await self._restore(Path(wanted))
        elif link.is_symlink():
            await self._restore(link.resolve())
            link.unlink()

    async def stop(self) -> None:
        wanted = await self._attribute("content.dump")
        if not wanted:
            return
        try:
            if wanted == _AUTO:
                await self._dump_for_the_next_start(await self._folder())
            else:
                await self._dump(Path(wanted))
        except OSError as exc:
            self.log.error("the key-value store is not dumped", error=str(exc))

    async def _attribute(self, name: str) -> str:
        try:
            return str(await self.flux.attr_get(name))
        except FileNotFoundError:
            return ""

    async def _folder(self) -> Path:
        """Where the dumps of "auto" are: in a statedir that stays, else in the broker's working directory."""
        stays = await self._attribute("statedir-cleanup") == "0"
        return Path(await self._attribute("statedir") if stays else "") / "dump"

    async def _dump_for_the_next_start(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / time.strftime("%Y%m%d_%H%M%S.tgz")
        await self._dump(path)
        link = folder / "RESTORE.new"
        link.unlink(missing_ok=True)
        link.symlink_to(path.name)
        link.replace(folder / "RESTORE")

    async def _dump(self, path: Path) -> None:
        self.log.info(f"dumping the key-value store to {path}")
        await self.flux.rpc("content.flush")
        await self._run(*_DUMP, str(path))

    async def _restore(self, path: Path) -> None:
        """Have what is in the archive, and nothing else, in the backing store.

        What was there goes once the archive has been read to its end, so that a damaged one costs nothing.
        """
        if not path.exists():
            raise FluxError(errno.ENOENT, f"content.restore: there is no archive {path}")
        self.log.info(f"restoring the key-value store from {path}")
        info = await self.flux.rpc("content-backing.gc-info", {"epoch": 0})
        await self._run(*_RESTORE, str(path))
        newest = (await self.flux.rpc("content.checkpoint-get"))["value"][0]
        await self.flux.rpc("content-backing.checkpoint-put", {"value": newest, "alone": True})
        await self._sweep(info)

    async def _sweep(self, info: dict[str, Any]) -> None:
        step = {"epoch": info["current_epoch"], "high_water": info["high_water"], **_SWEEP}
        cursor = 0
        while cursor < info["high_water"]:
            cursor = (await self.flux.rpc("content-backing.sweep", {**step, "cursor": cursor}))["cursor"]

    async def _run(self, *words: str) -> None:
        """Run a command of this instance. FluxError EIO, with what it said, when it fails."""
        environment = {**os.environ, "FLUX_URI": await self._attribute("local-uri")}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "flux_cli.main", *words),
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            _, said = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            raise
        lines = said.decode(errors="replace").splitlines()
        if process.returncode:
            raise FluxError(errno.EIO, lines[-1] if lines else f"flux {words[0]} ended with {process.returncode}")
        for line in lines:
            self.log.warning(line)
