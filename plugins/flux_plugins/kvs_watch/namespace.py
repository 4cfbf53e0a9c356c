"""A namespace that is watched: its newest root, and its watchers by key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from flux_plugins.kvs_watch.watcher import Watcher

__all__ = ["WatchedNamespace"]


class WatchedNamespace:
    """Watchers of one namespace; a new root concerns those of the keys it names and those who want every root.

    Attributes:
        rootref: "" until the root is known; watchers that came before wait in `starting`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.owner = -1
        self.rootref = ""
        self.rootseq = -1
        self.starting: list[Watcher] = []
        self._by_key: dict[str, list[Watcher]] = {}
        self._full: list[Watcher] = []

    def set_root(self, rootref: str, rootseq: int, owner: int) -> bool:
        """False when a newer root is known already."""
        if rootseq <= self.rootseq:
            return False
        self.rootref, self.rootseq, self.owner = rootref, rootseq, owner
        return True

    def add(self, watcher: Watcher) -> None:
        self._group(watcher).append(watcher)

    def discard(self, watcher: Watcher) -> None:
        """Forget a watcher that may or may not be here."""
        if watcher in self.starting:
            self.starting.remove(watcher)
        group = self._full if watcher.full else self._by_key.get(watcher.key, [])
        if watcher in group:
            group.remove(watcher)
        if not watcher.full and not group:
            self._by_key.pop(watcher.key, None)

    def _group(self, watcher: Watcher) -> list[Watcher]:
        return self._full if watcher.full else self._by_key.setdefault(watcher.key, [])

    def concerned(self, keys: Iterable[str]) -> list[Watcher]:
        """Watchers to whom a commit of these keys is of interest."""
        found = list(self._full)
        for key in keys:
            found += self._by_key.get(key, ())
        return found

    def __iter__(self) -> Iterator[Watcher]:
        yield from list(self.starting)
        yield from list(self._full)
        for watchers in list(self._by_key.values()):
            yield from list(watchers)

    def __bool__(self) -> bool:
        return bool(self.starting or self._full or self._by_key)

    def stats(self) -> dict[str, Any]:
        return {"watchers": sum(1 for _ in self), "rootseq": self.rootseq, "keys": len(self._by_key)}
