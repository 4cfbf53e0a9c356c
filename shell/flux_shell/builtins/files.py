"""Files that come with the jobspec, put into FLUX_JOB_TMPDIR (attributes.system.files, RFC 37): --add-file, scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flux.fileref import unpack
from flux.hooks.shell import hookimpl

if TYPE_CHECKING:
    from flux_shell.shell import Shell

__all__ = ["Files"]


class Files:
    """Unpacks before the first task; the directory, with all in it, is gone after the last."""

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        system = (shell.job.jobspec.get("attributes") or {}).get("system") or {}
        files = system.get("files") or {}
        if not isinstance(files, dict):
            raise ValueError(f"attributes.system.files is an object of files, not {files!r:.60}")
        for name, entry in files.items():
            if not isinstance(entry, dict):
                raise ValueError(f"attributes.system.files: {name} is an object with mode and data, not {entry!r:.60}")
            try:
                unpack(shell.env["FLUX_JOB_TMPDIR"], name, entry)
            except KeyError as exc:
                raise ValueError(f"attributes.system.files: {name} has no {exc.args[0]}") from None
            except (OSError, TypeError, ValueError) as exc:
                raise ValueError(f"attributes.system.files: {name}: {exc}") from None
