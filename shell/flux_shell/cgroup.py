"""The control group that this process is in: cgroup version 2, or version 1 for what that one counts of memory."""

from __future__ import annotations

import os

__all__ = ["Cgroup"]

_LARGEST = 1 << 16
_FIRST_NAMES = {
    "memory.current": "memory.usage_in_bytes",
    "memory.peak": "memory.max_usage_in_bytes",
    "memory.events": "memory.oom_control",
}
"""What files of version 2 are called in version 1, where they have the same numbers and keys that are read here."""


class Cgroup:
    """Files of the shell's own control group, by the names of version 2.

    Args:
        root: where control groups are mounted; those of version 2 may be in its "unified". own: /proc/self/cgroup.
    """

    def __init__(self, root: str = "/sys/fs/cgroup", own: str = "/proc/self/cgroup") -> None:
        self._directory = self._memory = ""
        for line in _read(own).splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0":
                mount = os.path.join(root, "unified")
                self._directory = os.path.join(mount if os.path.isdir(mount) else root, path.lstrip("/"))
            elif "memory" in controllers.split(","):
                self._memory = os.path.join(root, controllers, path.lstrip("/"))

    def text(self, name: str) -> str:
        """What a file holds; "" when it is not there, or may not be read."""
        directory = self._directory
        if self._memory and name in _FIRST_NAMES:
            directory, name = self._memory, _FIRST_NAMES[name]
        try:
            return _read(os.path.join(directory, name)) if directory else ""
        except OSError:
            return ""

    def number(self, name: str) -> int | None:
        """The only number of a file; None when the file is not there, or holds none."""
        text = self.text(name).strip()
        return int(text) if text.isdigit() else None

    def value(self, name: str, key: str) -> int | None:
        """The number behind a key in a file of "KEY NUMBER" lines; None when there is none."""
        pairs = (line.partition(" ") for line in self.text(name).splitlines())
        return next((int(number) for name, _, number in pairs if name == key), None)


def _read(path: str) -> str:
    """The text of a small file; each shell reads some, and a file object costs more than what is in them."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _LARGEST).decode()
    finally:
        os.close(fd)
