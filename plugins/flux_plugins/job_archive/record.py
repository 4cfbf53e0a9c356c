"""One job as the journal of the job manager tells it, up to its row in the archive. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from flux.idset import IDset
from flux_plugins.job_archive.database import Row

__all__ = ["Record"]

_NOT_IN_EVENTLOG = "annotations"
_encode_json = msgspec.json.Encoder().encode


class Record:
    """Collects the events of a job.

    Attributes:
        complete: the job is inactive.
    """

    def __init__(self, jobid: int) -> None:
        self._id = jobid
        self._events: list[dict[str, Any]] = []
        self._jobspec: Any = None
        self._R: Any = None
        self.complete = False

    def apply(self, entry: Mapping[str, Any]) -> None:
        """Take a response of the journal about this job."""
        self._jobspec = entry.get("jobspec", self._jobspec)
        self._R = entry.get("R", self._R)
        self._events += [event for event in entry["events"] if event["name"] != _NOT_IN_EVENTLOG]
        self.complete = bool(self._events) and self._events[-1]["name"] == "clean"

    def row(self) -> Row:
        fatal = [event for event in self._events if _is_fatal(event)]
        return Row(
            id=str(self._id),
            userid=self._events[0].get("context", {}).get("userid", -1),
            ranks=_ranks(self._R) if self._R else "",
            t_submit=self._time("submit"),
            t_run=self._time("alloc"),
            t_cleanup=self._time("finish") or (fatal[0]["timestamp"] if fatal else 0.0),
            t_inactive=self._time("clean"),
            eventlog="".join(_encode_json(event).decode() + "\n" for event in self._events),
            jobspec=_text(self._jobspec),
            R=_text(self._R),
        )

    def _time(self, name: str) -> float:
        return next((event["timestamp"] for event in self._events if event["name"] == name), 0.0)


def _is_fatal(event: dict[str, Any]) -> bool:
    return bool(event["name"] == "exception" and event["context"]["severity"] == 0)


def _ranks(R: Mapping[str, Any]) -> str:
    return str(IDset().union(*(entry["rank"] for entry in R["execution"]["R_lite"])))


def _text(obj: Any) -> str:
    return "" if obj is None else _encode_json(obj).decode()
