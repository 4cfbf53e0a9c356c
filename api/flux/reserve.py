"""Room kept aside on the disk of a backing store, so that a full disk still takes what was acknowledged."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from flux.errors import FluxError

if TYPE_CHECKING:
    from flux.backing import BackingStore

__all__ = ["Reserve"]


class Reserve:
    """A file of `size` bytes that is given up when the disk is full."""

    def __init__(self, path: str, size: int) -> None:
        self.path = path
        self.size = size

    def take(self) -> bool:
        """Make the file; False when there is no room for it."""
        if not self.size:
            return True
        descriptor = os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self.size)
        except OSError as exc:
            os.ftruncate(descriptor, 0)
            if exc.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            return False
        finally:
            os.close(descriptor)
        return True

    def write(self, store: BackingStore, work: Callable[[], None]) -> None:
        """Do work; where there is no room for it mark the store as full, and do it again in the room kept aside.

        FluxError ENOSPC when that was not enough, or was given up before.
        """
        try:
            work()
        except FluxError as exc:
            if exc.errno != errno.ENOSPC:
                raise
            store.full = True
            if not self.release():
                raise
            work()

    def release(self) -> bool:
        """Give the room back; False when there was none."""
        try:
            held = os.stat(self.path).st_size
            os.unlink(self.path)
        except FileNotFoundError:
            return False
        return held > 0
