"""Files of archives in the KVS, put where tasks find them: `-o stage-in` (flux-shell(1), flux-archive(1))."""

from __future__ import annotations

import errno
import os
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from flux.hooks.shell import hookimpl
from flux_shell.option_names import object_of

if TYPE_CHECKING:
    from flux_shell.shell import Shell

__all__ = ["StageIn"]

_KEYS = ("names", "tags", "pattern", "destination")


class StageIn:
    """Extracts before the first task, on every node or, into a file system that all share, on the first."""

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        asked = shell.options.get("stage-in")
        if not asked or shell.standalone:
            return
        options = object_of("stage-in", asked, "stage-in.names=main", _KEYS) if isinstance(asked, dict) else {}
        scope, path = _destination(str(options.get("destination") or shell.env["FLUX_JOB_TMPDIR"]))
        if scope == "global" and shell.rank:
            return
        if not os.path.isdir(path):
            code = errno.ENOTDIR if os.path.exists(path) else errno.ENOENT
            raise ValueError(f"stage-in.destination: chdir {path}: {os.strerror(code)}")
        names = options.get("names") or options.get("tags") or "main"
        for name in names if isinstance(names, list) else str(names).split(","):
            _extract(shell, name, path, str(options.get("pattern") or "*"))


def _destination(text: str) -> tuple[str, str]:
    scope, colon, path = text.partition(":")
    if not colon:
        return "local", text
    if scope not in ("local", "global"):
        raise ValueError(f"stage-in.destination: the scope is local or global, not {scope!r}")
    return scope, path


def _extract(shell: Shell, name: str, folder: str, pattern: str) -> None:
    from flux.content import digest_of, load_async
    from flux.fileref import unpack
    from flux.kvs.requests import lookup_async

    def load(ref: str) -> bytes:
        blob: bytes = load_async(shell.flux, digest_of(ref)).get()
        return blob

    try:
        archive = lookup_async(shell.flux, f"archive.{name}", namespace="primary").json()
        for entry in archive:
            if fnmatchcase(entry["path"], pattern):
                unpack(folder, entry["path"], entry, load, overwrite=True)
    except (OSError, KeyError, TypeError, ValueError) as exc:
        raise ValueError(f"stage-in of archive {name}: {exc}") from None
