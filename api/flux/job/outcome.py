"""What became of a job, from the events of its eventlog (RFC 21). Pure: events in, a dict out."""

from __future__ import annotations

from flux.constants import (
    FLUX_JOB_RESULT_CANCELED,
    FLUX_JOB_RESULT_COMPLETED,
    FLUX_JOB_RESULT_FAILED,
    FLUX_JOB_RESULT_TIMEOUT,
    FLUX_JOB_STATE_INACTIVE,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.job.event import EventLogEvent

__all__ = ["JobResult", "result_number"]

_RESULT_OF_EXCEPTION = {"cancel": FLUX_JOB_RESULT_CANCELED, "timeout": FLUX_JOB_RESULT_TIMEOUT}


def result_number(exception: str | None, waitstatus: int | None) -> int:
    """FLUX_JOB_RESULT_* of a job that ended with a fatal exception of that type, or with a status as of wait(2)."""
    if exception is not None:
        return _RESULT_OF_EXCEPTION.get(exception, FLUX_JOB_RESULT_FAILED)
    return FLUX_JOB_RESULT_COMPLETED if waitstatus == 0 else FLUX_JOB_RESULT_FAILED


class JobResult:
    """Collects the events of a job, from `submit` to `clean`.

    Attributes:
        waitstatus: as of wait(2), None when no shell ever ran.
        exception: context of the exception of the greatest severity, None without one.
    """

    def __init__(self, jobid: int) -> None:
        self.jobid = jobid
        self.times: dict[str, float] = {}
        self._submitted: dict[str, int] = {}
        self.waitstatus: int | None = None
        self.exception: dict[str, Any] | None = None
        self.started = False

    def on_event(self, event: EventLogEvent) -> None:
        """Take the next event."""
        handler = getattr(self, f"_on_{event.name}", None)
        if handler is not None:
            handler(event)

    def _on_submit(self, event: EventLogEvent) -> None:
        self.times["t_submit"] = event.timestamp
        self._submitted = {key: event.context[key] for key in ("userid", "urgency") if key in event.context}

    def _on_alloc(self, event: EventLogEvent) -> None:
        self.times["t_run"] = event.timestamp

    def _on_start(self, _event: EventLogEvent) -> None:
        self.started = True

    def _on_finish(self, event: EventLogEvent) -> None:
        self.waitstatus = event.context["status"]
        self.times.setdefault("t_cleanup", event.timestamp)

    def _on_exception(self, event: EventLogEvent) -> None:
        severity = event.context["severity"]
        if severity == 0:
            self.times.setdefault("t_cleanup", event.timestamp)
        if self.exception is None or severity < self.exception["severity"]:
            self.exception = event.context

    def _on_clean(self, event: EventLogEvent) -> None:
        self.times["t_inactive"] = event.timestamp

    @property
    def fatal(self) -> bool:
        """True when an exception ended the job."""
        return self.exception is not None and self.exception["severity"] == 0

    @property
    def result(self) -> int:
        """FLUX_JOB_RESULT_*."""
        return result_number(self.exception["type"] if self.fatal and self.exception else None, self.waitstatus)

    def as_dict(self) -> dict[str, Any]:
        """The job in the form of RFC 43 attributes: what `flux.job.info.JobInfo` is made of."""
        info: dict[str, Any] = {
            "id": self.jobid,
            **self._submitted,
            **self.times,
            "state": FLUX_JOB_STATE_INACTIVE,
            "result": self.result,
            "success": self.result == FLUX_JOB_RESULT_COMPLETED,
            "exception_occurred": self.exception is not None,
        }
        if self.waitstatus is not None:
            info["waitstatus"] = self.waitstatus
        if self.exception is not None:
            info["exception_type"] = self.exception["type"]
            info["exception_severity"] = self.exception["severity"]
            info["exception_note"] = self.exception.get("note", "")
        return info
