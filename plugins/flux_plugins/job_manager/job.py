"""What the job manager knows of a job."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

from flux.constants import (
    FLUX_JOB_STATE_CLEANUP,
    FLUX_JOB_STATE_DEPEND,
    FLUX_JOB_STATE_INACTIVE,
    FLUX_JOB_STATE_NEW,
    FLUX_JOB_STATE_PRIORITY,
    FLUX_JOB_STATE_RUN,
    FLUX_JOB_STATE_SCHED,
)

__all__ = [
    "CLEANUP",
    "DEPEND",
    "IMMUTABLE",
    "INACTIVE",
    "NEW",
    "PRIORITY",
    "RUN",
    "SCHED",
    "Alloc",
    "Event",
    "Job",
]

NEW, DEPEND, PRIORITY = FLUX_JOB_STATE_NEW, FLUX_JOB_STATE_DEPEND, FLUX_JOB_STATE_PRIORITY
SCHED, RUN = FLUX_JOB_STATE_SCHED, FLUX_JOB_STATE_RUN
CLEANUP, INACTIVE = FLUX_JOB_STATE_CLEANUP, FLUX_JOB_STATE_INACTIVE
IMMUTABLE = 0x10
"""Flag of a job whose jobspec the instance owner changed past all checks: its owner may change it no more."""

Event = Mapping[str, Any]


class Alloc(Enum):
    """How far an allocation request has got."""

    NONE = auto()
    QUEUED = auto()
    PENDING = auto()
    CANCELING = auto()


class Job:
    """One job: what its events say, and the requests that are under way for it.

    Attributes:
        flags: mask of FLUX_JOB_DEBUG and FLUX_JOB_WAITABLE. priority: -1 while it has none.
        dependencies: description to whether it is met. memo: values of its memo events.
        R: resource set, as the scheduler gave it, without its `scheduling` key.
        exception: first fatal exception event. status: wait status of the finish event, -1 before.
        end_event: `exception` or the finish event, whichever came first.
        launched: a start request was sent, or may have been, and the execution service has not released everything.
        bypass: a policy gave it its resources; the scheduler knows nothing of them.
        alloc, alloc_priority, executing: requests under way; not in the eventlog.
        view: the job as policies see it.
    """

    __slots__ = (
        "R",
        "alloc",
        "alloc_priority",
        "annotations",
        "bypass",
        "dependencies",
        "end_event",
        "epilogs",
        "events",
        "exception",
        "executing",
        "flags",
        "has_resources",
        "id",
        "jobspec",
        "launched",
        "memo",
        "priority",
        "prologs",
        "started",
        "state",
        "status",
        "t_clean",
        "t_submit",
        "urgency",
        "userid",
        "view",
    )

    def __init__(self, id: int, jobspec: dict[str, Any]) -> None:
        self.id = id
        self.jobspec = jobspec
        self.userid = 0
        self.urgency = 0
        self.flags = 0
        self.t_submit = 0.0
        self.t_clean = 0.0
        self.state = NEW
        self.priority = -1
        self.R: dict[str, Any] | None = None
        self.annotations: dict[str, Any] = {}
        self.memo: dict[str, Any] = {}
        self.events: list[Event] = []
        self.dependencies: dict[str, bool] = {}
        self.prologs: set[str] = set()
        self.epilogs: set[str] = set()
        self.has_resources = False
        self.bypass = False
        self.launched = False
        self.started = False
        self.status = -1
        self.exception: Event | None = None
        self.end_event: Event | None = None
        self.alloc = Alloc.NONE
        self.alloc_priority = -1
        self.executing = False
        self.view: Any = None

    @property
    def waits_for_dependency(self) -> bool:
        return not all(self.dependencies.values())

    @property
    def is_active(self) -> bool:
        return self.state != INACTIVE
