"""The overlay as `flux overlay` shows it: health of each broker (`overlay.health`), gathered from the top."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from flux.errors import FluxError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flux.core.handle import Flux

__all__ = ["ENDED", "Gatherer", "Node", "ask"]

ENDED = ("lost", "offline")


class Node(NamedTuple):
    """One broker.

    Attributes:
        status: full, partial, degraded, lost, offline, or why it could not be asked.
        duration: seconds since it came to have this status; -1 not known.
        error: why it is lost. round_trip: seconds that its answer took; -1 when it was not asked.
        presumed: it cannot be reached because of one above it.
    """

    rank: int
    status: str
    duration: float = -1.0
    error: str = ""
    round_trip: float = -1.0
    presumed: bool = False
    children: tuple[Node, ...] = ()

    def walk(self) -> Iterator[Node]:
        yield self
        for child in self.children:
            yield from child.walk()

    def as_dict(self) -> dict[str, Any]:
        entry: dict[str, Any] = {"rank": self.rank, "status": self.status, "duration": self.duration}
        if self.error:
            entry["error"] = self.error
        return {**entry, "children": [child.as_dict() for child in self.children]}


def ask(handle: Flux, topic: str, payload: dict[str, Any] | None, rank: int, timeout: float) -> dict[str, Any]:
    """One request; timeout in seconds, 0 for none. FluxError ETIMEDOUT after it."""
    answer = handle.rpc(topic, payload, nodeid=rank)
    answer.wait_for(timeout or -1.0)
    result: dict[str, Any] = answer.get()
    return result


class Gatherer:
    """Asks broker after broker.

    Args:
        timeout: seconds for each answer, 0 for as long as it takes.
        ghosts: fill in the brokers behind one that is gone.
    """

    def __init__(self, handle: Flux, timeout: float, ghosts: bool = True) -> None:
        self._handle, self._timeout, self._ghosts = handle, timeout, ghosts

    def tree(self, rank: int) -> Node:
        """The subtree of a rank. FluxError when that broker itself does not answer."""
        started = time.monotonic()
        health = ask(self._handle, "overlay.health", None, rank, self._timeout)
        taken = time.monotonic() - started
        children = tuple(self._child(rank, entry) for entry in health["children"])
        return Node(rank, health["status"], health["duration"], round_trip=taken, children=children)

    def _child(self, parent: int, entry: dict[str, Any]) -> Node:
        rank, status, error = entry["rank"], entry["status"], entry.get("error", "")
        if status in ENDED:
            ghosts = self._presumed(parent, rank, status) if self._ghosts else ()
            return Node(rank, status, entry["duration"], error, children=ghosts)
        try:
            return self.tree(rank)
        except (FluxError, TimeoutError) as exc:
            text = os.strerror(exc.errno or errno.ETIMEDOUT)
            return Node(rank, text, children=self._presumed(parent, rank, "unknown") if self._ghosts else ())

    def _presumed(self, parent: int, rank: int, status: str) -> tuple[Node, ...]:
        """Those behind a broker that cannot be asked, as its parent knows the tree."""
        tree = ask(self._handle, "overlay.topology", {"rank": rank}, parent, self._timeout)
        return tuple(_presume(child, status) for child in tree["children"])


def _presume(tree: dict[str, Any], status: str) -> Node:
    children = tuple(_presume(child, status) for child in tree["children"])
    return Node(tree["rank"], status, presumed=True, children=children)
