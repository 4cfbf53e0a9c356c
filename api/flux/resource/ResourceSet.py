"""Resource sets as programs use them (manual page ``flux.resource.ResourceSet``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flux.hostlist import Hostlist, HostlistLike
from flux.idset import IDset, IDsetLike
from flux.resource.Rlist import Rlist

__all__ = ["ResourceSet"]


class ResourceSet:
    """A set of resources: nodes, and the cores and GPUs of each.

    ``arg``: an R as JSON text or decoded (RFC 20), an Rlist, another ResourceSet (a copy is made), or None for
    the empty set.  ``version`` is that of the empty set.  ValueError when R is wrong or not of version 1.
    """

    def __init__(
        self, arg: str | bytes | Mapping[str, Any] | Rlist | ResourceSet | None = None, version: int = 1
    ) -> None:
        if version != 1:
            raise ValueError(f"R version {version} is not supported, expected 1")
        if isinstance(arg, ResourceSet):
            arg = arg.impl.copy()
        self.impl: Rlist = arg if isinstance(arg, Rlist) else Rlist(arg)
        self.state: str | None = None
        """An optional state of these resources, e.g. "up"."""

    # --- text -----------------------------------------------------------------------------

    def encode(self) -> str:
        """Return the R as JSON text."""
        return self.impl.encode()

    def to_dict(self) -> dict[str, Any]:
        """Return the R as a dict."""
        return self.impl.to_dict()

    def dumps(self) -> str:
        """Return the short form, e.g. ``rank[0-1]/core[0-3],gpu0``."""
        return self.impl.dumps()

    def __str__(self) -> str:
        return self.dumps()

    def __repr__(self) -> str:
        return f"ResourceSet({self.encode()!r})"

    def __eq__(self, other: object) -> bool:
        return self.impl == other.impl if isinstance(other, ResourceSet) else NotImplemented

    # --- ask ------------------------------------------------------------------------------

    @property
    def rlist(self) -> Rlist:
        """The set behind this one."""
        return self.impl

    @property
    def nnodes(self) -> int:
        """The number of nodes."""
        return self.impl.nnodes()

    @property
    def ncores(self) -> int:
        """The number of cores."""
        return self.impl.count("core")

    @property
    def ngpus(self) -> int:
        """The number of GPUs."""
        return self.impl.count("gpu")

    @property
    def nodelist(self) -> Hostlist:
        """The hosts, in the order of their ranks."""
        return self.impl.nodelist()

    @property
    def ranks(self) -> IDset:
        """The ranks."""
        return self.impl.ranks()

    @property
    def properties(self) -> str:
        """The names of all properties, comma separated."""
        return ",".join(self.impl.get_properties())

    @property
    def starttime(self) -> float:
        """When the set becomes valid, seconds since the epoch; 0 when unset."""
        return self.impl.starttime

    @starttime.setter
    def starttime(self, seconds: float) -> None:
        self.impl.starttime = seconds

    @property
    def expiration(self) -> float:
        """When the set becomes invalid, seconds since the epoch; 0 when unset."""
        return self.impl.expiration

    @expiration.setter
    def expiration(self, seconds: float) -> None:
        self.impl.expiration = seconds

    def count(self, name: str) -> int:
        """The number of resources of type ``name``, e.g. "core"."""
        return self.impl.count(name)

    def host_ranks(self, hosts: HostlistLike, ignore_nomatch: bool = False) -> list[int]:
        """The ranks of ``hosts``, in their order; all of a host that has several.

        ignore_nomatch: leave out hosts that are not in the set.  Raises FileNotFoundError for them otherwise.
        """
        nodelist = self.nodelist
        known = [nodelist[i] for i in nodelist.index(hosts, ignore_nomatch)]
        ranks: dict[str, list[int]] = {host: [] for host in known}
        for rank, host in zip(self.ranks, nodelist, strict=True):
            if host in ranks:
                ranks[host].append(rank)
        return [rank for found in ranks.values() for rank in found]

    def get_properties(self) -> dict[str, IDset]:
        """The ranks of each property."""
        return self.impl.get_properties()

    # --- change ---------------------------------------------------------------------------

    def set_property(self, name: str, ranks: IDsetLike | None = None) -> None:
        """Give ranks (default: all) a property; ValueError when one is not in the set."""
        self.impl.set_property(name, ranks)

    def append(self, *args: ResourceSet) -> ResourceSet:
        """Add sets that share nothing with this one (else ValueError); return self."""
        for arg in args:
            self.impl.append(ResourceSet(arg).impl)
        return self

    def add(self, *args: ResourceSet) -> ResourceSet:
        """Add sets, whatever they share; return self."""
        for arg in args:
            self.impl.add(ResourceSet(arg).impl)
        return self

    def remove_ranks(self, ranks: IDsetLike) -> ResourceSet:
        """Remove ranks and all they hold; return self."""
        self.impl.remove_ranks(ranks)
        return self

    # --- combine --------------------------------------------------------------------------

    def copy(self) -> ResourceSet:
        """An independent copy."""
        return self._new(self.impl.copy())

    def copy_ranks(self, ranks: IDsetLike) -> ResourceSet:
        """A copy of some ranks only."""
        return self._new(self.impl.copy_ranks(ranks))

    def copy_constraint(self, constraint: Mapping[str, Any] | str) -> ResourceSet:
        """A copy of the ranks that satisfy an RFC 31 constraint; ValueError when it is wrong."""
        return self._new(self.impl.copy_constraint(constraint))

    def union(self, *args: ResourceSet) -> ResourceSet:
        """What is in this set or in any of ``args``."""
        result = self.copy()
        return result.add(*args)

    def diff(self, *args: ResourceSet) -> ResourceSet:
        """What is in this set and in none of ``args``."""
        result = self.copy()
        for arg in args:
            result.impl = result.impl.diff(ResourceSet(arg).impl)
        return result

    def intersect(self, *args: ResourceSet) -> ResourceSet:
        """What is in this set and in all ``args``."""
        result = self.copy()
        for arg in args:
            result.impl = result.impl.intersect(ResourceSet(arg).impl)
        return result

    def __or__(self, other: ResourceSet) -> ResourceSet:
        return self.union(other)

    def __and__(self, other: ResourceSet) -> ResourceSet:
        return self.intersect(other)

    def __sub__(self, other: ResourceSet) -> ResourceSet:
        return self.diff(other)

    def _new(self, impl: Rlist) -> ResourceSet:
        result = ResourceSet(impl)
        result.state = self.state
        return result
