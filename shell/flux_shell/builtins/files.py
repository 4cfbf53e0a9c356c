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
        for name, entry in files.items():
            try:
                unpack(shell.env["FLUX_JOB_TMPDIR"], name, entry)
            except (OSError, KeyError, TypeError, ValueError) as exc:
                raise ValueError(f"attributes.system.files: {name}: {exc}") from None
