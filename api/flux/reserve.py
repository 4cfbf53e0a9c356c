"""Room kept aside on the disk of a backing store, so that a full disk still takes what was acknowledged."""

from __future__ import annotations

import errno
import os

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

    def release(self) -> bool:
        """Give the room back; False when there was none."""
        try:
            held = os.stat(self.path).st_size
            os.unlink(self.path)
        except FileNotFoundError:
            return False
        return held > 0
