"""The life of a job as a pure state machine (RFC 21): no I/O, no clock.

`transition` applies an event to a job, the same when it happens and when an eventlog is replayed; `next_actions`
says what the job manager has to do for a job as it is now. What it does is recorded in the job (`alloc`,
`executing`) or posted as the next event, so that asking again never asks for the same thing twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

from flux.constants import FLUX_JOB_DEBUG
from flux_plugins.job_manager.job import (
    CLEANUP,
    DEPEND,
    IMMUTABLE,
    INACTIVE,
    NEW,
    PRIORITY,
    RUN,
    SCHED,
    Alloc,
    Event,
    Job,
)

__all__ = [
    "FLAG_BITS",
    "STATE_EVENTS",
    "Action",
    "IllegalEvent",
    "merge",
    "next_actions",
    "state_name",
    "transition",
    "updated_jobspec",
]

_NAMES = {
    NEW: "NEW",
    DEPEND: "DEPEND",
    PRIORITY: "PRIORITY",
    SCHED: "SCHED",
    RUN: "RUN",
    CLEANUP: "CLEANUP",
    INACTIVE: "INACTIVE",
}
FLAG_BITS = {"debug": FLUX_JOB_DEBUG, "immutable": IMMUTABLE}
"""Flags that a `set-flags` event may set."""


class IllegalEvent(ValueError):
    """An event that cannot happen to a job in its state."""


class Action(Enum):
    """What the job manager has to do next for a job."""

    POST_DEPEND = auto()
    QUEUE_ALLOC = auto()
    DEQUEUE_ALLOC = auto()
    CANCEL_ALLOC = auto()
    PRIORITIZE_ALLOC = auto()
    START = auto()
    FREE = auto()
    POST_CLEAN = auto()


def state_name(state: int) -> str:
    """Name of a state number, as RFC 21 spells it."""
    return _NAMES[state]


def next_actions(job: Job) -> tuple[Action, ...]:
    """What is to be done for a job as it is; empty while it waits for somebody else."""
    state = job.state
    if state == DEPEND:
        return () if job.waits_for_dependency else (Action.POST_DEPEND,)
    if state == SCHED:
        return _sched_actions(job)
    if state == RUN:
        return () if job.executing or job.prologs else (Action.START,)
    if state == CLEANUP:
        return _cleanup_actions(job)
    return ()


def _sched_actions(job: Job) -> tuple[Action, ...]:
    if job.alloc is Alloc.NONE:
        return (Action.QUEUE_ALLOC,) if job.priority > 0 else ()
    if job.alloc is Alloc.CANCELING:
        return ()
    if job.priority == 0:
        return (Action.DEQUEUE_ALLOC,) if job.alloc is Alloc.QUEUED else (Action.CANCEL_ALLOC,)
    return (Action.PRIORITIZE_ALLOC,) if job.priority != job.alloc_priority else ()


def _cleanup_actions(job: Job) -> tuple[Action, ...]:
    if job.alloc is Alloc.QUEUED:
        return (Action.DEQUEUE_ALLOC,)
    if job.alloc is Alloc.PENDING:
        return (Action.CANCEL_ALLOC,)
    if job.alloc is Alloc.CANCELING or job.executing:
        return ()
    if job.launched:
        return (Action.START,)
    if job.prologs or job.epilogs:
        return ()
    return (Action.FREE,) if job.has_resources else (Action.POST_CLEAN,)


# --- events -----------------------------------------------------------------------------------


def transition(job: Job, event: Event) -> None:
    """Apply an event to a job.

    Raises:
        IllegalEvent: the event cannot happen to the job as it is; the job is unchanged.
    """
    name = event["name"]
    if not job.events and name != "submit":
        raise IllegalEvent(f"{name}: the first event of a job is submit")
    if job.state == INACTIVE:
        raise IllegalEvent(f"{name}: the job is inactive")
    handler = _HANDLERS.get(name)
    if handler is not None:
        try:
            handler(job, event, event.get("context") or {})
        except (KeyError, TypeError) as exc:
            raise IllegalEvent(f"{name}: its context lacks {exc}") from None
    job.events.append(event)


def _require(job: Job, event: Event, *states: int) -> None:
    if job.state not in states:
        wanted = ", ".join(_NAMES[state] for state in states)
        raise IllegalEvent(f"{event['name']}: the job is in {_NAMES[job.state]}, which must be {wanted}")


def _refuse_if(refused: bool, event: Event, why: str) -> None:
    if refused:
        raise IllegalEvent(f"{event['name']}: {why}")


def _submit(job: Job, event: Event, context: dict[str, Any]) -> None:
    _refuse_if(bool(job.events), event, "the job was submitted already")
    job.urgency, job.userid, job.flags = context["urgency"], context["userid"], context["flags"]
    job.t_submit = event["timestamp"]


def _validate(job: Job, event: Event, context: dict[str, Any]) -> None:
    _require(job, event, NEW)
    job.state = DEPEND if job.exception is None else CLEANUP


def _invalidate(job: Job, event: Event, context: dict[str, Any]) -> None:
    _require(job, event, NEW)


def _set_flags(job: Job, event: Event, context: dict[str, Any]) -> None:
    for flag in context["flags"]:
        job.flags |= FLAG_BITS.get(flag, 0)


def _dependency_add(job: Job, event: Event, context: dict[str, Any]) -> None:
    _require(job, event, NEW, DEPEND)
    description = context["description"]
    _refuse_if(description in job.dependencies, event, f"{description} was added before")
    job.dependencies[description] = False


def _dependency_remove(job: Job, event: Event, context: dict[str, Any]) -> None:
    description = context["description"]
    _refuse_if(job.dependencies.get(description, True), event, f"{description} is not a dependency of the job")
    job.dependencies[description] = True


def _depend(job: Job, event: Event, context: dict[str, Any]) -> None:
    _require(job, event, DEPEND)
    _refuse_if(job.waits_for_dependency, event, "not all dependencies are met")
    job.state = PRIORITY


def _priority(job: Job, event: Event, context: dict[str, Any]) -> None:
    _require(job, event, PRIORITY, SCHED)
    job.priority = context["priority"]
    job.state = SCHED


def _urgency(job: Job, event: Event, context: dict[str, Any]) -> None:
    _require(job, event, NEW, DEPEND, PRIORITY, SCHED)
    job.urgency = context["urgency"]
    if job.state == SCHED:
        job.state = PRIORITY


def _alloc(job: Job, event: Event, context: dict[str, Any]) -> None:
    _require(job, event, PRIORITY, SCHED, CLEANUP)
    _refuse_if(job.has_resources, event, "the job has resources already")
    _refuse_if(job.state == CLEANUP and job.launched, event, "the job has run")
    job.has_resources = True
    job.bypass = bool(context.get("bypass"))
    job.annotations = context.get("annotations", job.annotations)
    if job.state != CLEANUP:
        job.state = RUN


def _start(job: Job, event: Event, context: dict[str, Any]) -> None:
    _require(job, event, RUN, CLEANUP)
    _refuse_if(not job.has_resources, event, "the job has no resources")
    job.started = job.launched = True


def _finish(job: Job, event: Event, context: dict[str, Any]) -> None:
    _require(job, event, RUN, CLEANUP)
    _refuse_if(job.status != -1, event, "the job has finished already")
    job.status = context["status"]
    job.end_event = job.end_event or event
    job.state = CLEANUP


def _release(job: Job, event: Event, context: dict[str, Any]) -> None:
    _require(job, event, RUN, CLEANUP)
    if context["final"]:
        job.launched = job.executing = False


def _free(job: Job, event: Event, context: dict[str, Any]) -> None:
    _require(job, event, CLEANUP)
    _refuse_if(not job.has_resources, event, "the job has no resources")
    _refuse_if(job.launched, event, "the execution service has not released the job's resources")
    job.has_resources = False


def _clean(job: Job, event: Event, context: dict[str, Any]) -> None:
    _require(job, event, CLEANUP)
    _refuse_if(job.has_resources, event, "the job's resources have not been freed")
    job.t_clean = event["timestamp"]
    job.state = INACTIVE


def _exception(job: Job, event: Event, context: dict[str, Any]) -> None:
    if context["severity"] != 0:
        return
    job.exception = job.exception or event
    job.end_event = job.end_event or event
    if job.state != NEW:
        job.state = CLEANUP


def _flux_restart(job: Job, event: Event, context: dict[str, Any]) -> None:
    if job.state == SCHED:
        job.state = PRIORITY


def _memo(job: Job, event: Event, context: dict[str, Any]) -> None:
    merge(job.memo, context)


def _jobspec_update(job: Job, event: Event, context: dict[str, Any]) -> None:
    _refuse_if(not context, event, "it names no key")
    job.jobspec = updated_jobspec(job.jobspec, context)
    if job.state == SCHED:
        job.state = PRIORITY


def _resource_update(job: Job, event: Event, context: dict[str, Any]) -> None:
    _refuse_if(not job.has_resources, event, "the job has no resources")
    if job.R is not None:
        job.R = {**job.R, "execution": {**job.R["execution"], "expiration": context["expiration"]}}


def _prolog_start(job: Job, event: Event, context: dict[str, Any]) -> None:
    _refuse_if(job.started, event, "the job has started already")
    job.prologs.add(context["description"])


def _prolog_finish(job: Job, event: Event, context: dict[str, Any]) -> None:
    job.prologs.discard(context["description"])


def _epilog_start(job: Job, event: Event, context: dict[str, Any]) -> None:
    _require(job, event, RUN, CLEANUP)
    job.epilogs.add(context["description"])


def _epilog_finish(job: Job, event: Event, context: dict[str, Any]) -> None:
    job.epilogs.discard(context["description"])


_HANDLERS = {
    "submit": _submit,
    "validate": _validate,
    "invalidate": _invalidate,
    "set-flags": _set_flags,
    "dependency-add": _dependency_add,
    "dependency-remove": _dependency_remove,
    "depend": _depend,
    "priority": _priority,
    "urgency": _urgency,
    "alloc": _alloc,
    "start": _start,
    "finish": _finish,
    "release": _release,
    "free": _free,
    "clean": _clean,
    "exception": _exception,
    "flux-restart": _flux_restart,
    "memo": _memo,
    "jobspec-update": _jobspec_update,
    "resource-update": _resource_update,
    "prolog-start": _prolog_start,
    "prolog-finish": _prolog_finish,
    "epilog-start": _epilog_start,
    "epilog-finish": _epilog_finish,
}
STATE_EVENTS = frozenset(_HANDLERS) - {"memo", "set-flags"}
"""Events that change what a job is; others are records and may be posted by anyone who may post."""


# --- objects that events change ---------------------------------------------------------------


def merge(target: dict[str, Any], update: Mapping[str, Any]) -> None:
    """Update a dictionary by the rules of RFC 27: dictionaries merge, null removes, all else replaces."""
    for key, value in update.items():
        current = target.get(key)
        if value is None:
            target.pop(key, None)
        elif isinstance(value, Mapping):
            merged = dict(current) if isinstance(current, Mapping) else {}
            merge(merged, value)
            target[key] = merged
        else:
            target[key] = value


def updated_jobspec(jobspec: dict[str, Any], updates: Mapping[str, Any]) -> dict[str, Any]:
    """A jobspec with the dotted paths of a jobspec-update event replaced; the original is not changed."""
    result = dict(jobspec)
    for path, value in updates.items():
        *parents, last = path.split(".")
        node = result
        for part in parents:
            child = node.get(part)
            node[part] = node = dict(child) if isinstance(child, Mapping) else {}
        node[last] = value
    return result
