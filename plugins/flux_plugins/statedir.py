"""The folder for what outlasts the instance: made where it is not there, and then removed at the end (statedir)."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile

from flux.errors import FluxError
from flux.hooks.kernel import AttributeTable

__all__ = ["StateDir"]


class StateDir:
    """What attribute `statedir` names, on rank 0.

    Args:
        attrs: with `statedir`; a folder like /tmp, which has the sticky bit, gets a new one in it, and the attribute
            names that. `statedir-cleanup` (0 or 1) says whether it is removed, whoever made it.

    Raises:
        FluxError: EPERM when it belongs to somebody else, EINVAL for another `statedir-cleanup`, or what making it
            ended with.
    """

    def __init__(self, attrs: AttributeTable) -> None:
        self.path = attrs["statedir"]
        try:
            made = self._make()
        except OSError as exc:
            raise FluxError(exc.errno or errno.EIO, f"attribute statedir: {self.path}: {exc.strerror}") from None
        attrs.set("statedir", self.path)
        cleanup = attrs.get("statedir-cleanup") or str(int(made))
        if cleanup not in ("0", "1"):
            raise FluxError(errno.EINVAL, f"statedir-cleanup is 0 or 1, not {cleanup!r}")
        attrs.set("statedir-cleanup", cleanup, immutable=True)
        self._remove = cleanup == "1"

    def _make(self) -> bool:
        try:
            os.mkdir(self.path, 0o700)
            return True
        except FileExistsError:
            status = os.stat(self.path)
        if status.st_mode & stat.S_ISVTX:
            self.path = tempfile.mkdtemp(prefix="flux-", dir=self.path)
            return True
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if status.st_uid != os.getuid():
            raise PermissionError(errno.EPERM, f"it belongs to user {status.st_uid}, not to the instance owner")
        return False

    def close(self) -> None:
        """Remove it where that is wanted; nothing writes there any more."""
        if self._remove:
            shutil.rmtree(self.path, ignore_errors=True)
