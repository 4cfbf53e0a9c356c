"""The queues of an instance: state, limits, defaults and resources of each (RFC 33, flux-queue(1)).

for queue in QueueList(handle):
    print(queue.name, queue.started, queue.limits.duration, queue.resources.free.ncores)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from flux.util import parse_fsd

if TYPE_CHECKING:
    from flux.core.handle import Flux
    from flux.resource import ResourceSet

__all__ = ["QueueInfo", "QueueList", "policy_tables"]

_COUNTED = ("nnodes", "ncores", "ngpus")


class QueueResourceCounts(NamedTuple):
    """Bounds of a job's size; inf for none."""

    nnodes: float
    ncores: float
    ngpus: float


class QueueDefaults(NamedTuple):
    """duration: of jobs that do not ask for one, in seconds; inf for no limit."""

    duration: float

    @property
    def timelimit(self) -> float:
        return self.duration


class QueueLimits(NamedTuple):
    """min, max: of a job's size. duration: the longest a job may ask for, in seconds."""

    min: QueueResourceCounts
    max: QueueResourceCounts
    duration: float

    @property
    def timelimit(self) -> float:
        return self.duration


class QueueResources(NamedTuple):
    """What belongs to a queue, by state; free is what is up and not allocated."""

    all: ResourceSet
    up: ResourceSet
    down: ResourceSet
    allocated: ResourceSet
    free: ResourceSet


def policy_tables(config: Mapping[str, Any], queue: str | None) -> Iterator[Mapping[str, Any]]:
    """The `policy` tables that hold for a queue, first to last: its own, its parent's, the general.

    Args:
        config: the instance's configuration. queue: a name; None or "" for the queue without one.
    """
    queues = config.get("queues") or {}
    own = queues.get(queue) or {} if queue else {}
    yield own.get("policy") or {}
    if own.get("parent"):
        yield (queues.get(own["parent"]) or {}).get("policy") or {}
    yield config.get("policy") or {}


class QueueInfo:
    """One queue.

    Args:
        name: "" for the only one of an instance without named queues.
        config: the instance's configuration. status: what `job-manager.queue-status` says of it.
        resources: what belongs to it.

    Attributes:
        is_default: jobs that name no queue are in this one.
        enabled: takes jobs. started: its jobs get resources.
        parent: of a virtual queue, else "".
        blocked: why it is not started though it was: "scheduler" or "parent"; None otherwise.
        defaults: QueueDefaults. limits: QueueLimits. resources: QueueResources.
    """

    def __init__(
        self, name: str, config: Mapping[str, Any], status: Mapping[str, Any], resources: QueueResources
    ) -> None:
        self.name = name
        self.config = config
        self.is_default = name == default_queue(config)
        self.enabled: bool = status["enable"]
        self.started: bool = status["start"]
        self.parent: str = status.get("parent", "")
        self.blocked: str | None = status.get("blocked")
        self.resources = resources
        self.defaults = QueueDefaults(self._seconds("jobspec", "defaults", "system", "duration"))
        self.limits = QueueLimits(self._bounds("min", 0), self._bounds("max", math.inf), self._limit_duration())

    def _lookup(self, *path: str) -> Any:
        for table in policy_tables(self.config, self.name):
            value: Any = table
            for key in path:
                value = value.get(key) if isinstance(value, Mapping) else None
            if value is not None:
                return value
        return None

    def _seconds(self, *path: str) -> float:
        value = self._lookup(*path)
        return math.inf if value is None else parse_fsd(str(value))

    def _limit_duration(self) -> float:
        return self._seconds("limits", "duration")

    def _bounds(self, bound: str, default: float) -> QueueResourceCounts:
        found = [self._lookup("limits", "job-size", bound, name) for name in _COUNTED]
        return QueueResourceCounts(*(default if n is None else math.inf if n < 0 else n for n in found))


def default_queue(config: Mapping[str, Any]) -> str:
    """The queue of jobs that name none; "" when there is none."""
    defaults = (config.get("policy") or {}).get("jobspec", {}).get("defaults", {}).get("system", {})
    return str(defaults.get("queue", ""))


class QueueList:
    """The queues of an instance, in the order of the configuration; the one without a name when it has none.

    Args:
        handle: a handle, to be asked at once.
        queues: names of those wanted; all when empty.

    Raises:
        ValueError: there is no such queue.
    """

    def __init__(self, handle: Flux, queues: Iterable[str] | None = None) -> None:
        asked_config, asked_resources = handle.rpc("config.get"), handle.rpc("resource.sched-status", nodeid=0)
        config = asked_config.get() or {}
        names = _chosen(config, list(queues or ()))
        asked = {
            name: handle.rpc("job-manager.queue-status", {"name": name} if name else {}, nodeid=0) for name in names
        }
        sets = _by_state(asked_resources.get())
        self._queues = {
            name: QueueInfo(name, config, status.get(), _of_queue(sets, name, config)) for name, status in asked.items()
        }

    def __iter__(self) -> Iterator[QueueInfo]:
        return iter(self._queues.values())

    def __len__(self) -> int:
        return len(self._queues)

    def __getitem__(self, name: str | None) -> QueueInfo:
        return self._queues[name or ""]

    def __getattr__(self, name: str) -> QueueInfo:
        try:
            found: QueueInfo = self.__dict__["_queues"][name]
        except KeyError:
            raise AttributeError(f"there is no queue {name}") from None
        return found


def _chosen(config: Mapping[str, Any], wanted: list[str]) -> list[str]:
    known = list(config.get("queues") or {})
    for name in wanted:
        if name not in known:
            raise ValueError(f"No such queue: {name}{'; there are ' + ', '.join(known) if known else ''}")
    return wanted or known or [""]


def _by_state(status: Mapping[str, Any]) -> QueueResources:
    from flux.resource import ResourceSet

    everything, down, allocated = (ResourceSet(status[name]) for name in ("all", "down", "allocated"))
    up = everything - down
    return QueueResources(everything, up, down, allocated, up - allocated)


def _of_queue(sets: QueueResources, name: str, config: Mapping[str, Any]) -> QueueResources:
    tables = config.get("queues") or {}
    table = tables.get(name) or {}
    requires = (tables.get(table.get("parent")) or table).get("requires")
    if not requires:
        return sets
    return QueueResources(*(part.copy_constraint({"properties": requires}) for part in sets))
