"""What the instance of Flux that a job is tells of itself: its jobs, its resources (flux-jobs(1), instance.*)."""

from __future__ import annotations

from flux.job.stats import JobStats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["InstanceInfo"]

_STATES = ("all", "up", "down", "allocated", "free")


class _Nothing:
    """Shows as nothing, whatever is asked of it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __str__(self) -> str:
        return ""


class _Stats(JobStats):
    def __str__(self) -> str:
        return f"PD:{self.pending} R:{self.running} CD:{self.successful} F:{self.failed}"


class _Counts:
    def __init__(self, nnodes: int, ncores: int, ngpus: int) -> None:
        self.nnodes, self.ncores, self.ngpus = nnodes, ncores, ngpus


class InstanceInfo:
    """An instance, asked once; all fields are empty when it cannot be reached, or uri is "".

    Attributes:
        stats: JobStats that show as "PD:1 R:2 CD:3 F:0".
        resources: nnodes, ncores and ngpus of each of all, up, down, allocated and free.
        utilization, gpu_utilization: allocated cores or GPUs as part of all (0 to 1), "" when there are none.
        progress: inactive jobs as part of all (0 to 1), "" when there are none.
    """

    def __init__(self, uri: str = "") -> None:
        self.stats: Any = _Nothing()
        self.resources: Any = _Nothing()
        self.utilization: float | str = ""
        self.gpu_utilization: float | str = ""
        self.progress: float | str = ""
        if uri:
            self._ask(uri)

    def _ask(self, uri: str) -> None:
        from flux.core.handle import Flux

        try:
            with Flux(uri) as handle:
                stats = _Stats(handle)
                stats.update_sync()
                resources = _resources(handle)
        except OSError:  # not this user's, or gone, or without these services: shown as unknown
            return
        self.stats, self.resources = stats, resources
        self.utilization = _part(resources.allocated.ncores, resources.all.ncores)
        self.gpu_utilization = _part(resources.allocated.ngpus, resources.all.ngpus)
        self.progress = _part(stats.inactive, stats.total)


class _Resources:
    def __init__(self, counts: dict[str, _Counts]) -> None:
        self.all, self.up, self.down, self.allocated, self.free = (counts[state] for state in _STATES)


def _resources(handle: Any) -> _Resources:
    from flux.resource import ResourceSet

    status = handle.rpc("resource.sched-status", nodeid=0).get()
    sets = {name: ResourceSet(status[name]) for name in ("all", "down", "allocated")}
    sets["up"] = sets["all"] - sets["down"]
    sets["free"] = sets["up"] - sets["allocated"]
    return _Resources({state: _count(found) for state, found in sets.items()})


def _count(resources: Any) -> _Counts:
    return _Counts(resources.nnodes, resources.ncores, resources.ngpus)


def _part(some: int, total: int) -> float | str:
    return some / total if total else ""
