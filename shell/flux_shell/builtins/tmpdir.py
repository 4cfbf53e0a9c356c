"""A directory of its own for each job on each node: FLUX_JOB_TMPDIR, and TMPDIR unless the user has one."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from flux.hooks.shell import hookimpl
from flux.job import fluid

if TYPE_CHECKING:
    from flux_shell.shell import Shell

__all__ = ["TmpDir"]


class TmpDir:
    """Makes the directory before the first task, removes it after the last."""

    def __init__(self) -> None:
        self._path = ""

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        name = f"jobtmp-{shell.rank}-{fluid.encode(shell.jobid, 'f58plain')}"
        self._path = _make(os.path.join(_rundir(), name))
        shell.env["FLUX_JOB_TMPDIR"] = self._path
        if not os.access(shell.env.get("TMPDIR", ""), os.W_OK):
            shell.env["TMPDIR"] = self._path

    @hookimpl
    def shell_exit(self) -> None:
        if not self._path:
            return
        try:
            os.rmdir(self._path)
        except OSError as exc:
            if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            import shutil

            shutil.rmtree(self._path)


def _rundir() -> str:
    """The broker's run directory, which holds its socket; else a directory for temporary files."""
    scheme, _, path = os.environ.get("FLUX_URI", "").partition("://")
    wanted = (os.path.dirname(path) if scheme == "local" else "", os.environ.get("TMPDIR", ""))
    return next((directory for directory in wanted if os.access(directory, os.W_OK)), "/tmp")


def _make(path: str) -> str:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        import tempfile

        return tempfile.mkdtemp(prefix=os.path.basename(path) + "-", dir=os.path.dirname(path))
    return path
