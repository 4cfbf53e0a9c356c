"""What a representation of resources offers to ResourceSet (manual page of the same name)."""

from __future__ import annotations

from abc import ABC, abstractmethod

from flux.hostlist import Hostlist
from flux.idset import IDset, IDsetLike

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["ResourceSetImplementation"]


class ResourceSetImplementation(ABC):
    """The interface of a resource set of one R version."""

    version: int

    @abstractmethod
    def append(self, rset: Any) -> None:
        """Append another set; ValueError when they share a resource."""

    @abstractmethod
    def copy(self) -> Any:
        """Return an independent copy."""

    @abstractmethod
    def count(self, name: str) -> int:
        """Return the total number of resources of type ``name``."""

    @abstractmethod
    def diff(self, rset: Any) -> Any:
        """Return what is in this set and not in the other."""

    @abstractmethod
    def dumps(self) -> str:
        """Return the short form for people."""

    @abstractmethod
    def encode(self) -> str:
        """Return the R JSON text."""

    @abstractmethod
    def intersect(self, rset: Any) -> Any:
        """Return what is in both sets."""

    @abstractmethod
    def nnodes(self) -> int:
        """Return the number of nodes."""

    @abstractmethod
    def nodelist(self) -> Hostlist:
        """Return the hosts, in the order of their ranks."""

    @abstractmethod
    def ranks(self) -> IDset:
        """Return the ranks."""

    @abstractmethod
    def remove_ranks(self, ranks: IDsetLike) -> None:
        """Remove ranks and all they hold."""

    @abstractmethod
    def union(self, rset: Any) -> Any:
        """Return what is in either set."""
