"""Resources by rank: the R version 1 set (RFC 20; manual page ``flux.resource.Rlist``)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from flux.constants import IDSET_FLAG_BRACKETS, IDSET_FLAG_RANGE
from flux.hostlist import Hostlist, HostlistLike
from flux.idset import IDset, IDsetLike
from flux.resource import _rv1
from flux.resource._rv1 import Children, Node, Rv1
from flux.resource.ResourceSetImplementation import ResourceSetImplementation

__all__ = ["Rlist"]

_Combine: TypeAlias = Callable[[IDset, IDset], IDset]
_SHORT = IDSET_FLAG_BRACKETS | IDSET_FLAG_RANGE


class Rlist(ResourceSetImplementation):
    """A set of resources: ranks, and the cores and GPUs that each holds.

    ``rstring``: an R as JSON text or decoded, or None for the empty set.  ValueError names the wrong field.
    Of two sets combined, times and scheduling data are those of the first.
    """

    version = 1

    def __init__(self, rstring: str | bytes | Mapping[str, Any] | None = None) -> None:
        self._r: Rv1 = Rv1() if rstring is None else _rv1.decode(rstring)

    # --- text -----------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return the R as a dict."""
        return _rv1.encode(self._r)

    def encode(self) -> str:
        """Return the R as JSON text."""
        return json.dumps(self.to_dict())

    def dumps(self) -> str:
        """Return the short form, e.g. ``rank[0-1]/core[0-3],gpu0 rank2/core0``."""
        return " ".join(
            f"rank{ranks.encode(_SHORT)}/{','.join(f'{n}{ids.encode(_SHORT)}' for n, ids in children.items())}"
            for ranks, children in _rv1.grouped(self._r.nodes)
        )

    def __str__(self) -> str:
        return self.dumps()

    def __eq__(self, other: object) -> bool:
        return self._r == other._r if isinstance(other, Rlist) else NotImplemented

    # --- ask ------------------------------------------------------------------------------

    def nnodes(self) -> int:
        """The number of ranks."""
        return len(self._r.nodes)

    def count(self, name: str) -> int:
        """The total number of resources of type ``name``: "core", "gpu", ... or "node"."""
        if name == "node":
            return self.nnodes()
        return sum(node.children[name].count() for node in self._r.nodes.values() if name in node.children)

    def nodelist(self) -> Hostlist:
        """The hosts, in the order of their ranks."""
        return _rv1.hosts(self._r.nodes)

    def ranks(self, hosts: HostlistLike | None = None) -> IDset:
        """All ranks, or those of ``hosts``; ValueError when a host is not in the set."""
        if hosts is None:
            return IDset(self._r.nodes)
        by_host: dict[str | None, list[int]] = {}
        for rank, node in self._r.nodes.items():
            by_host.setdefault(node.hostname, []).append(rank)
        wanted = Hostlist(hosts)
        missing = Hostlist([host for host in wanted if host not in by_host])
        if missing:
            raise ValueError(f"resource set has no host {missing}")
        return IDset(rank for host in wanted for rank in by_host[host])

    def children(self, rank: int) -> Children:
        """What ``rank`` holds: type to ids.  KeyError when it is not in the set."""
        return self._r.nodes[rank].copy().children

    def get_properties(self) -> dict[str, IDset]:
        """The ranks of each property."""
        return {name: ranks.copy() for name, ranks in self._r.properties.items()}

    @property
    def starttime(self) -> float:
        """When the set becomes valid, seconds since the epoch; 0 when unset."""
        return self._r.starttime

    @starttime.setter
    def starttime(self, seconds: float) -> None:
        self._r.starttime = _rv1.seconds(seconds, "R starttime")

    @property
    def expiration(self) -> float:
        """When the set becomes invalid, seconds since the epoch; 0 when unset."""
        return self._r.expiration

    @expiration.setter
    def expiration(self, seconds: float) -> None:
        self._r.expiration = _rv1.seconds(seconds, "R expiration")

    @property
    def nslots(self) -> int | None:
        """The number of slots of an allocation; None when the set is none."""
        return self._r.nslots

    @nslots.setter
    def nslots(self, nslots: int | None) -> None:
        self._r.nslots = nslots

    # --- change ---------------------------------------------------------------------------

    def add_rank(self, rank: int, hostname: str | None = None, cores: IDsetLike = "0") -> None:
        """Add a rank with its cores.  ValueError when it is there already."""
        if rank in self._r.nodes:
            raise ValueError(f"rank {rank} is in the resource set already")
        self._r.nodes[rank] = Node({"core": IDset(cores)}, hostname)

    def add_child(self, rank: int, name: str, ids: IDsetLike) -> None:
        """Add resources of type ``name`` to a rank.  ValueError when the rank is not there, or one of the ids is."""
        if rank not in self._r.nodes:
            raise ValueError(f"rank {rank} is not in the resource set")
        self._insert(rank, Node({name: IDset(ids)}), disjoint=True)

    def append(self, arg: Rlist) -> None:
        """Add another set.  ValueError when they share a resource or disagree on a host."""
        merged = self.copy()
        for rank, node in arg._r.nodes.items():
            merged._insert(rank, node, disjoint=True)
        self._take(merged, arg)

    def add(self, arg: Rlist) -> None:
        """Add another set, whatever they share.  ValueError when they disagree on a host."""
        self._take(self.union(arg), None)

    def remove_ranks(self, ranks: IDsetLike) -> None:
        """Remove ranks and all they hold; those not in the set are passed over."""
        for rank in IDset(ranks) & self.ranks():
            del self._r.nodes[rank]
        self._prune()

    def remap(self, numbers: Mapping[int, int] | None = None) -> None:
        """Number the ranks anew.

        Args:
            numbers: the new number of each rank; by default 0 to N-1 in their order.
        """
        new = numbers or {rank: i for i, rank in enumerate(sorted(self._r.nodes))}
        self._r.nodes = {new[rank]: self._r.nodes[rank] for rank in sorted(new, key=new.__getitem__)}
        for name, ranks in self._r.properties.items():
            self._r.properties[name] = IDset(new[rank] for rank in ranks)

    def set_property(self, name: str, ranks: IDsetLike | None = None) -> None:
        """Give ranks (default: all) a property.  ValueError when one is not in the set or the name is illegal."""
        wanted = self.ranks() if ranks is None else IDset(ranks)
        unknown = wanted - self.ranks()
        if unknown:
            raise ValueError(f"resource property '{name}': ranks {unknown} are not in the resource set")
        self._r.properties[name] = self._r.properties.get(_rv1.check_property(name), IDset()) | wanted

    # --- combine --------------------------------------------------------------------------

    def copy(self) -> Rlist:
        """An independent copy."""
        return self._with(self._r.nodes)

    def union(self, arg: Rlist) -> Rlist:
        """What is in either set.  ValueError when they disagree on a host."""
        result = self.copy()
        for rank, node in arg._r.nodes.items():
            result._insert(rank, node, disjoint=False)
        result._add_properties(arg)
        return result

    def diff(self, arg: Rlist) -> Rlist:
        """What is in this set and not in ``arg``; ranks that hold nothing any more are left out."""
        return self._combine(arg, self._r.nodes, IDset.difference)

    def intersect(self, arg: Rlist) -> Rlist:
        """What is in both sets; ranks that hold nothing any more are left out."""
        return self._combine(arg, self._r.nodes.keys() & arg._r.nodes.keys(), IDset.intersect)

    def copy_ranks(self, ranks: IDsetLike) -> Rlist:
        """A copy of some ranks only; those not in the set are passed over."""
        return self._with(IDset(ranks) & self.ranks())

    def copy_constraint(self, constraint: Mapping[str, Any] | str) -> Rlist:
        """A copy of the ranks that satisfy an RFC 31 constraint (an object or its JSON).

        ValueError names what is wrong in it.
        """
        from flux.resource.constraint import Inventory, match_ranks

        if isinstance(constraint, str):
            constraint = json.loads(constraint)
        hosts = {rank: node.hostname for rank, node in self._r.nodes.items()}
        return self._with(match_ranks(Inventory(hosts, self._r.properties), constraint))

    # --- inside ---------------------------------------------------------------------------

    def _with(self, ranks: Iterable[int]) -> Rlist:
        """A copy with only ``ranks``, all of which must be in the set."""
        r = self._r
        result = Rlist()
        result._r = Rv1(
            {rank: r.nodes[rank].copy() for rank in ranks},
            {name: ids.copy() for name, ids in r.properties.items()},
            r.starttime,
            r.expiration,
            r.nslots,
            r.scheduling,
        )
        result._prune()
        return result

    def _combine(self, arg: Rlist, ranks: Iterable[int], combine: _Combine) -> Rlist:
        result = self._with(ranks)
        for rank in list(result._r.nodes):
            other = arg._r.nodes.get(rank, Node({})).children
            mine = result._r.nodes[rank].children
            left = {name: combine(ids, other.get(name, IDset())) for name, ids in mine.items()}
            result._r.nodes[rank].children = {name: ids for name, ids in left.items() if ids}
            if not result._r.nodes[rank].children:
                del result._r.nodes[rank]
        result._prune()
        return result

    def _insert(self, rank: int, node: Node, disjoint: bool) -> None:
        mine = self._r.nodes.setdefault(rank, Node({}, node.hostname))
        if node.hostname not in (None, mine.hostname):
            raise ValueError(f"rank {rank} is host {mine.hostname} in one set and {node.hostname} in the other")
        for name, ids in node.children.items():
            shared = mine.children.get(name, IDset()) & ids
            if disjoint and shared:
                raise ValueError(f"rank{rank}/{name}{shared.encode(_SHORT)} is in the resource set already")
            mine.children[name] = mine.children.get(name, IDset()) | ids

    def _take(self, merged: Rlist, more: Rlist | None) -> None:
        self._r = merged._r
        if more is not None:
            self._add_properties(more)

    def _add_properties(self, arg: Rlist) -> None:
        for name, ranks in arg._r.properties.items():
            self._r.properties[name] = self._r.properties.get(name, IDset()) | ranks

    def _prune(self) -> None:
        """Keep properties to the ranks there are."""
        ranks = IDset(self._r.nodes)
        left = {name: ids & ranks for name, ids in self._r.properties.items()}
        self._r.properties = {name: ids for name, ids in left.items() if ids}
