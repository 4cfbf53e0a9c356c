"""Files that come with the jobspec, put into FLUX_JOB_TMPDIR (attributes.system.files, RFC 37): --add-file, scripts."""

from __future__ import annotations

import json
import os
import stat
from base64 import b64decode
from typing import TYPE_CHECKING, Any

from flux.hooks.shell import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flux_shell.shell import Shell

__all__ = ["Files"]


class Files:
    """Unpacks before the first task; the directory, with all in it, is gone after the last."""

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        system = (shell.job.jobspec.get("attributes") or {}).get("system") or {}
        files = system.get("files") or {}
        for name, entry in files.items():
            try:
                _unpack(_inside(shell.env["FLUX_JOB_TMPDIR"], name), entry)
            except (OSError, KeyError, TypeError, ValueError) as exc:
                raise ValueError(f"attributes.system.files: {name}: {exc}") from None


def _inside(folder: str, name: str) -> str:
    if name.startswith("/") or {"", ".", ".."} & set(name.split("/")):
        raise ValueError("a path below the job's directory is expected, without '.' and '..'")
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path


def _unpack(path: str, entry: Mapping[str, Any]) -> None:
    mode = int(entry["mode"])
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFDIR:
        os.makedirs(path, stat.S_IMODE(mode), exist_ok=True)
    elif kind == stat.S_IFLNK:
        os.symlink(entry["data"], path)
    elif kind == stat.S_IFREG:
        _write(path, _content(entry), stat.S_IMODE(mode))
        if "size" in entry:
            os.truncate(path, int(entry["size"]))
    else:
        raise ValueError(f"mode {mode:o} is that of no file, directory or symbolic link")


def _content(entry: Mapping[str, Any]) -> bytes:
    data, encoding = entry.get("data", ""), entry.get("encoding")
    if encoding == "base64":
        return b64decode(data, validate=True)
    if encoding not in (None, "utf-8"):
        raise ValueError(f"encoding {encoding} is neither utf-8 nor base64")
    return data.encode() if isinstance(data, str) else json.dumps(data).encode()


def _write(path: str, content: bytes, perms: int) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(content)
        os.fchmod(stream.fileno(), perms)
