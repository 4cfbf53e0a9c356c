"""The control group that this process is in (cgroup version 2)."""

from __future__ import annotations

from pathlib import Path

__all__ = ["Cgroup"]


class Cgroup:
    """Files of the shell's own control group.

    Args:
        root: where control groups are mounted. own: /proc/self/cgroup.
    """

    def __init__(self, root: str = "/sys/fs/cgroup", own: str = "/proc/self/cgroup") -> None:
        self._directory: Path | None = None
        for line in Path(own).read_text(encoding="utf-8").splitlines():
            number, _, path = line.split(":", 2)
            if number == "0":
                self._directory = Path(root, path.lstrip("/"))

    def path(self, name: str) -> Path | None:
        """A file that is there and may be read, else None."""
        if self._directory is None:
            return None
        path = self._directory / name
        try:
            path.read_text(encoding="utf-8")
        except OSError:
            return None
        return path

    def number(self, name: str) -> int | None:
        """The only number of a file; None when the file is not there, or holds none."""
        path = self.path(name)
        text = path.read_text(encoding="utf-8").strip() if path is not None else ""
        return int(text) if text.isdigit() else None

    def value(self, name: str, key: str) -> int | None:
        """The number behind a key in a file of "KEY NUMBER" lines; None when there is none."""
        path = self.path(name)
        if path is None:
            return None
        pairs = (line.partition(" ") for line in path.read_text(encoding="utf-8").splitlines())
        return next((int(number) for name, _, number in pairs if name == key), None)
