"""Payloads of the job manager's requests (RFC 27, RFC 32 and the service's own topics)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

__all__ = [
    "AnyPayload",
    "BatchTimeout",
    "EventsJournal",
    "ExecHello",
    "GetAttr",
    "HousekeepingKill",
    "JobId",
    "JobtapQuery",
    "JobtapRequest",
    "Kill",
    "KillAll",
    "ListJobs",
    "Memo",
    "Purge",
    "PurgeId",
    "QueueEnable",
    "QueueStart",
    "QueueStatus",
    "Raise",
    "RaiseAll",
    "SchedReady",
    "Submission",
    "Submit",
    "Update",
    "Urgency",
]

AnyPayload = dict[str, Any]


class Submission(msgspec.Struct):
    """One accepted job. t_submit: seconds since the epoch. jobspec: environment redacted."""

    id: int
    userid: int
    urgency: int
    t_submit: float
    flags: int
    jobspec: dict[str, Any]


class Submit(msgspec.Struct):
    jobs: list[Submission]


class JobId(msgspec.Struct):
    id: int


class Raise(msgspec.Struct):
    id: int
    type: str
    severity: int
    note: str | None = None
    wait_status: int | None = None


class RaiseAll(msgspec.Struct):
    """userid: -1 or 0xffffffff for every user. states: mask of FLUX_JOB_STATE_*."""

    dry_run: bool
    userid: int
    states: int
    severity: int
    type: str
    note: str | None = None


class Kill(msgspec.Struct):
    id: int
    signum: int


class KillAll(msgspec.Struct):
    dry_run: bool
    userid: int
    signum: int


class Urgency(msgspec.Struct):
    id: int
    urgency: int


class Memo(msgspec.Struct):
    id: int
    memo: dict[str, Any]
    volatile: bool = False


class Update(msgspec.Struct):
    """updates: dotted path in the jobspec to new value."""

    id: int
    updates: dict[str, Any]


class GetAttr(msgspec.Struct):
    id: int
    attrs: list[str]


class ListJobs(msgspec.Struct):
    """max_entries: 0 for no limit."""

    max_entries: int


class EventsJournal(msgspec.Struct):
    """full: begin with the inactive jobs. allow, deny: event names to send only, or not to send."""

    full: bool = False
    allow: dict[str, int] | None = None
    deny: dict[str, int] | None = None


class QueueStatus(msgspec.Struct):
    name: str | None = None


class QueueEnable(msgspec.Struct):
    """nocheckpoint: a restart undoes it."""

    enable: bool
    all: bool
    name: str | None = None
    reason: str | None = None
    nocheckpoint: bool = False


class QueueStart(msgspec.Struct):
    """nocheckpoint: a restart undoes it."""

    start: bool
    all: bool
    name: str | None = None
    reason: str | None = None
    nocheckpoint: bool = False


class Purge(msgspec.Struct):
    """age_limit: seconds, -1 for none. num_limit: inactive jobs to keep, -1 for all. force: do it, else count."""

    age_limit: float
    num_limit: int
    batch: int
    force: bool


class HousekeepingKill(msgspec.Struct):
    """jobid: of one job, else of all. ranks: idset of those to signal, else all."""

    signum: int
    jobid: int | None = None
    ranks: str | None = None


class PurgeId(msgspec.Struct):
    id: int
    force: int


class BatchTimeout(msgspec.Struct):
    """timeout: seconds that events gather before they are committed."""

    timeout: float


class SchedReady(msgspec.Struct):
    mode: Literal["limited", "unlimited"]
    limit: int = 0


class ExecHello(msgspec.Struct):
    service: str


class JobtapRequest(msgspec.Struct, omit_defaults=True):
    """An entry of `job-manager.plugins`; query_only: nothing of it, only what is loaded is asked for."""

    load: str | None = None
    conf: dict[str, Any] | None = None
    remove: str | None = None
    query_only: bool = False
    isolated: bool = False
    deadline: str | float | None = None
    on_error: str | None = msgspec.field(default=None, name="on-error")
    memory_limit: int | None = msgspec.field(default=None, name="memory-limit")


class JobtapQuery(msgspec.Struct):
    name: str
