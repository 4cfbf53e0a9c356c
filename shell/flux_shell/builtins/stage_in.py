"""Files of archives in the KVS, put where tasks find them: `-o stage-in` (flux-shell(1), flux-archive(1))."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from flux.hooks.shell import hookimpl

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
        options: dict[str, Any] = asked if isinstance(asked, dict) else {}
        unknown = sorted(set(options) - set(_KEYS))
        if unknown:
            raise ValueError(f"stage-in.{unknown[0]} is none of {', '.join(_KEYS)}")
        scope, path = _destination(str(options.get("destination") or shell.env["FLUX_JOB_TMPDIR"]))
        if scope == "global" and shell.rank:
            return
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
                unpack(folder, entry["path"], entry, load)
    except (OSError, KeyError, TypeError, ValueError) as exc:
        raise ValueError(f"stage-in of archive {name}: {exc}") from None
