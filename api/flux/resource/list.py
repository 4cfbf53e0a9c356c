"""What the scheduler has and what of it is up and free (manual page ``flux.resource``; flux-resource(1), list)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from flux.hostlist import Hostlist
from flux.idset import IDset
from flux.resource.ResourceSet import ResourceSet
from flux.rpc import RPC

if TYPE_CHECKING:
    from flux.core.base import Handle

__all__ = ["ResourceListRPC", "SchedResourceList", "resource_list", "target_ranks"]


class SchedResourceList:
    """Resources by state, each a ResourceSet; also by subscript: `resources["free"]`.

    Args:
        resp: what `resource.sched-status` answers: an R (RFC 20) or None for each of all, down, allocated.
    """

    def __init__(self, resp: Mapping[str, Any]) -> None:
        self.all = self._set(resp, "all")
        self.down = self._set(resp, "down")
        self.allocated = self._set(resp, "allocated")

    @staticmethod
    def _set(resp: Mapping[str, Any], state: str) -> ResourceSet:
        resources = ResourceSet(resp.get(state))
        resources.state = state
        return resources

    @cached_property
    def up(self) -> ResourceSet:
        """What is not down."""
        return self._derived("up", self.all - self.down)

    @cached_property
    def free(self) -> ResourceSet:
        """What is up and not allocated."""
        return self._derived("free", self.up - self.allocated)

    @staticmethod
    def _derived(state: str, resources: ResourceSet) -> ResourceSet:
        resources.state = state
        return resources

    def __getitem__(self, state: str) -> ResourceSet:
        if state not in ("all", "down", "allocated", "up", "free"):
            raise KeyError(state)
        resources: ResourceSet = getattr(self, state)
        return resources

    def filter(self, include: str | IDset | Hostlist) -> SchedResourceList:
        """Keep only ranks (an idset) or hosts (a hostlist); gives itself. ValueError when it is neither."""
        ranks = target_ranks(include, self.all)
        return self._replace({state: self[state].copy_ranks(ranks) for state in ("all", "down", "allocated")})

    def copy_constraint(self, constraint: Mapping[str, Any] | str) -> SchedResourceList:
        """Those that satisfy an RFC 31 constraint, in a new list; ValueError when it is wrong."""
        chosen = {state: self[state].copy_constraint(constraint) for state in ("all", "down", "allocated")}
        return SchedResourceList({})._replace(chosen)

    def _replace(self, sets: dict[str, ResourceSet]) -> SchedResourceList:
        self.__dict__.clear()
        self.__dict__.update(sets)
        return self


def target_ranks(targets: str | IDset | Hostlist, resources: ResourceSet) -> IDset:
    """Ranks of an idset or a hostlist. ValueError when it is neither, or a host is unknown."""
    if isinstance(targets, str):
        try:
            return IDset(targets)
        except ValueError:
            targets = Hostlist(targets)
    return targets if isinstance(targets, IDset) else resources.impl.ranks(targets)


class ResourceListRPC(RPC):
    """The question to the scheduler; `get` gives a `SchedResourceList`."""

    def __init__(self, flux_handle: Handle) -> None:
        super().__init__(flux_handle, "resource.sched-status", nodeid=0)

    def _convert(self, result: Any) -> SchedResourceList:
        return SchedResourceList(super()._convert(result))


def resource_list(flux_handle: Handle) -> ResourceListRPC:
    """Ask for the resources by state."""
    return ResourceListRPC(flux_handle)
