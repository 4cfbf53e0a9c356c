"""Jobs that wait for a scheduler, and how their requests are answered (RFC 27)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flux.message import Message
    from flux.scheduler import Scheduler

__all__ = ["AllocRequest", "PendingJob"]

_SUCCESS, _ANNOTATE, _DENY, _CANCEL = range(4)


class AllocRequest:
    """What the job manager asked for one job. Is answered once, with `success`, `deny` or `cancel`.

    Args:
        scheduler: that was asked. msg: the request.

    Attributes:
        jobid: the job's id.
    """

    def __init__(self, scheduler: Scheduler, msg: Message) -> None:
        self._scheduler = scheduler
        self._msg = msg
        self._told: set[str] = set()
        self.jobid = int(msg.payload["id"])

    def success(self, R: Any, annotations: Mapping[str, Any] | None = None, clear: bool = True) -> None:
        """The job gets R, once that is in the KVS.

        Args:
            R: what ResourcePool.alloc() gave, or an R object. annotations: to go with it (RFC 27).
            clear: take back what `annotate` has said and these do not.
        """
        found = R.to_dict() if hasattr(R, "to_dict") else dict(R)
        noted = dict(annotations or {})
        if clear and self._told:
            noted["sched"] = {**dict.fromkeys(self._told), **noted.get("sched", {})}
        self._scheduler.store(self, found, noted)

    def deny(self, note: str | None = None) -> None:
        """The job can never run, and is told why."""
        self._respond(_DENY, **({} if note is None else {"note": note}))

    def cancel(self) -> None:
        """The request was taken back; what was annotated is too."""
        if self._told:
            self.annotate({"sched": dict.fromkeys(self._told)})
        self._respond(_CANCEL)

    def annotate(self, annotations: Mapping[str, Any]) -> None:
        """Tell the job something while it waits; null takes a key back (RFC 27)."""
        for key, value in (annotations.get("sched") or {}).items():
            (self._told.discard if value is None else self._told.add)(key)
        self._respond(_ANNOTATE, annotations=dict(annotations))

    def granted(self, R: dict[str, Any], annotations: dict[str, Any]) -> None:
        """Answer that the job has R, which is stored."""
        self._respond(_SUCCESS, R=R, annotations=annotations)

    def _respond(self, type: int, **fields: Any) -> None:
        self._scheduler.handle.respond(self._msg, {"id": self.jobid, "type": type, **fields})


class PendingJob:
    """A job that waits; less than another when it comes first: by priority, submission time, id.

    Attributes:
        jobid, priority, t_submit: of the job. request: AllocRequest, to be answered.
        resource_request: what it asks for, as ResourcePool.alloc() takes it.
    """

    def __init__(
        self, jobid: int, priority: int, t_submit: float, request: AllocRequest, resource_request: Any
    ) -> None:
        self.jobid = jobid
        self.priority = priority
        self.t_submit = t_submit
        self.request = request
        self.resource_request = resource_request
        self._last_annotation: Any = None

    def __lt__(self, other: PendingJob) -> bool:
        return (-self.priority, self.t_submit, self.jobid) < (-other.priority, other.t_submit, other.jobid)
