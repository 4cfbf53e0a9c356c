"""Which brokers are up, drained, excluded or at work (manual page ``flux.resource``; flux-resource(1), status)."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from flux.errors import FluxError
from flux.hostlist import Hostlist
from flux.idset import IDset
from flux.resource.list import target_ranks
from flux.resource.ResourceSet import ResourceSet

if TYPE_CHECKING:
    from flux.core.base import Handle

__all__ = ["DrainInfo", "ResourceStatus", "ResourceStatusRPC", "resource_status"]

_NONE = IDset()


class DrainInfo(NamedTuple):
    """Ranks that were drained together: when (seconds since the epoch), and why."""

    ranks: IDset
    timestamp: float
    reason: str


class ResourceStatus:
    """Ranks by state, each an IDset; also by subscript: `status["drained"]`.

    Args:
        rstatus: what `resource.status` answers.
        allocated_ranks: that jobs have. housekeeping_ranks: that housekeeping runs on.

    Attributes:
        all, online, offline, exclude, torpid, allocated, housekeeping: ranks.
        avail: neither drained, excluded nor torpid.
        draining, drained: drained ones that jobs still have, and that none has.
        nodelist: hosts, in the order of ranks.
        drain_info: a list of DrainInfo.
    """

    def __init__(
        self,
        rstatus: Mapping[str, Any] | None = None,
        allocated_ranks: IDset | None = None,
        housekeeping_ranks: IDset | None = None,
    ) -> None:
        rstatus = rstatus or {}
        self.rset = ResourceSet(rstatus.get("R"))
        self._select(rstatus, allocated_ranks or _NONE, housekeeping_ranks or _NONE, self.rset.ranks)
        self._from = rstatus, allocated_ranks or _NONE, housekeeping_ranks or _NONE

    def _select(self, rstatus: Mapping[str, Any], allocated: IDset, housekeeping: IDset, among: IDset) -> None:
        self.all = among
        self.nodelist: Hostlist = self.rset.copy_ranks(among).nodelist
        self.online, self.offline, self.exclude, self.torpid = (
            IDset(rstatus.get(name, "")) & among for name in ("online", "offline", "exclude", "torpid")
        )
        self.allocated = allocated & among
        self.housekeeping = housekeeping & among
        self.drain_info = [
            DrainInfo(IDset(ranks) & among, entry["timestamp"], entry.get("reason") or "")
            for ranks, entry in rstatus.get("drain", {}).items()
            if IDset(ranks) & among
        ]
        drain = IDset().union(*(entry.ranks for entry in self.drain_info))
        self.draining = drain & self.allocated
        self.drained = drain - self.allocated
        self.avail = self.all - self.exclude - drain - self.torpid

    def filter(self, include: str | IDset | Hostlist) -> ResourceStatus:
        """Keep only ranks (an idset) or hosts (a hostlist); gives itself. ValueError when it is neither."""
        self._select(*self._from, self.all & target_ranks(include, self.rset))
        return self

    def __getitem__(self, state: str) -> IDset:
        found = getattr(self, state, None) if not state.startswith("_") else None
        if not isinstance(found, IDset):
            raise KeyError(state)
        return found

    def get_idset(self, *args: str) -> IDset:
        """The ranks in any of the states."""
        return IDset().union(*(self[state] for state in args))

    def get_drain_info(self, rank: int) -> DrainInfo | None:
        """Why a rank is drained; None when it is not."""
        return next((entry for entry in self.drain_info if rank in entry.ranks), None)


class ResourceStatusRPC:
    """The questions to the resource module, the scheduler and the job manager."""

    def __init__(self, handle: Handle) -> None:
        self._status = handle.rpc("resource.status", nodeid=0)
        self._sched = handle.rpc("resource.sched-status", nodeid=0)
        self._jobs = handle.rpc("job-manager.stats-get", nodeid=0)

    def get_status(self) -> dict[str, Any]:
        """What the resource module says, blocking."""
        status: dict[str, Any] = self._status.get()
        return status

    def get_allocated_ranks(self) -> IDset:
        """The ranks that jobs have, blocking; none without a scheduler."""
        try:
            return ResourceSet(self._sched.get()["allocated"]).ranks
        except FluxError as exc:
            if exc.errno != errno.ENOSYS:
                raise
            return IDset()

    def get_housekeeping_ranks(self) -> IDset:
        """The ranks that housekeeping has not given back, blocking; none for those who may not know."""
        try:
            running = self._jobs.get()["housekeeping"]["running"]
        except FluxError as exc:
            if exc.errno not in (errno.EPERM, errno.ENOSYS):
                raise
            return IDset()
        return IDset().union(*(IDset(entry["allocated"]) for entry in running.values()))

    def get(self) -> ResourceStatus:
        """The whole, blocking."""
        return ResourceStatus(self.get_status(), self.get_allocated_ranks(), self.get_housekeeping_ranks())


def resource_status(flux_handle: Handle) -> ResourceStatusRPC:
    """Ask for the ranks by state."""
    return ResourceStatusRPC(flux_handle)
