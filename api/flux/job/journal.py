"""The primary events of all jobs, as they are posted (RFC 21; manual page ``flux.job.journal``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flux.abc import JournalConsumerBase, JournalEventBase
from flux.job.JobID import JobID

if TYPE_CHECKING:
    from flux.core.handle import Flux

__all__ = ["SENTINEL_EVENT", "JournalConsumer", "JournalEvent"]


class JournalEvent(JournalEventBase):
    """An event of a job.

    Attributes:
        jobid: whose. jobspec: with `submit`, else None. R: with `alloc`, else None.
    """

    __slots__ = ("R", "jobid", "jobspec")

    def __init__(self, jobid: int, event: str | bytes | Mapping[str, Any], jobspec: Any = None, R: Any = None) -> None:
        super().__init__(event)
        self.jobid = JobID(jobid) if jobid >= 0 else jobid
        self.jobspec: dict[str, Any] | None = jobspec if self.name == "submit" else None
        self.R: dict[str, Any] | None = R if self.name == "alloc" else None

    def __str__(self) -> str:
        more = {"jobspec": self.jobspec, "R": self.R}
        words = [f"{name}={value}" for name, value in more.items() if value is not None]
        return " ".join([f"{self.jobid}: {super().__str__()}", *words])


SENTINEL_EVENT = JournalEvent(-1, {"timestamp": 0.0, "name": ""})
"""What `poll` gives between the past and the present, when it was asked for: equal to any sentinel."""


class JournalConsumer(JournalConsumerBase[JournalEvent]):
    """Follows the events of all jobs; see `flux.abc.JournalConsumerBase`. Instance owner only (EPERM).

    Args:
        full: begin with the events of all jobs that are known. since, include_sentinel: see the base.
    """

    SENTINEL_EVENT = SENTINEL_EVENT

    def __init__(
        self, flux_handle: Flux, full: bool = True, since: float = 0.0, include_sentinel: bool = False
    ) -> None:
        super().__init__(
            flux_handle, "job-manager.events-journal", full=full, since=since, include_sentinel=include_sentinel
        )

    @property
    def request_payload(self) -> dict[str, Any]:
        return {"full": self.full}

    def process_response(self, resp: Mapping[str, Any]) -> dict[str, Any]:
        return {"jobid": resp["id"], "jobspec": resp.get("jobspec"), "R": resp.get("R")}

    def create_event(self, entry: Mapping[str, Any], **kwargs: Any) -> JournalEvent:
        return JournalEvent(kwargs.pop("jobid", -1), entry, **kwargs)
