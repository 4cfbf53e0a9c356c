"""One job as the list knows it: the events of its eventlog go in, attributes come out (RFC 21, RFC 43)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from flux.constants import (
    FLUX_JOB_RESULT_CANCELED,
    FLUX_JOB_RESULT_COMPLETED,
    FLUX_JOB_RESULT_FAILED,
    FLUX_JOB_RESULT_TIMEOUT,
    FLUX_JOB_STATE_CLEANUP,
    FLUX_JOB_STATE_DEPEND,
    FLUX_JOB_STATE_INACTIVE,
    FLUX_JOB_STATE_NEW,
    FLUX_JOB_STATE_PRIORITY,
    FLUX_JOB_STATE_RUN,
    FLUX_JOB_STATE_SCHED,
    IDSET_FLAG_BRACKETS,
    IDSET_FLAG_RANGE,
)
from flux.hostlist import Hostlist
from flux.idset import IDset

__all__ = ["ListedJob"]

_BRACKETED = IDSET_FLAG_BRACKETS | IDSET_FLAG_RANGE
_TIME_OF_STATE = {
    FLUX_JOB_STATE_DEPEND: "t_depend",
    FLUX_JOB_STATE_PRIORITY: "t_priority",
    FLUX_JOB_STATE_SCHED: "t_sched",
    FLUX_JOB_STATE_RUN: "t_run",
    FLUX_JOB_STATE_CLEANUP: "t_cleanup",
    FLUX_JOB_STATE_INACTIVE: "t_inactive",
}
_RESULT_OF_EXCEPTION = {"cancel": FLUX_JOB_RESULT_CANCELED, "timeout": FLUX_JOB_RESULT_TIMEOUT}
_SYSTEM_ATTRIBUTES = ("cwd", "queue", "project", "bank")
_SEVEREST, _NONE = 0, 8


class ListedJob:
    """The attributes of one job.

    Attributes:
        state: FLUX_JOB_STATE_*. result: FLUX_JOB_RESULT_*, 0 until the job is inactive.
        fields: what is known, under the names of RFC 43.
        order: what pending jobs are sorted by.
    """

    __slots__ = ("_nodes", "_severity", "fields", "id", "order", "result", "state", "userid")

    def __init__(self, jobid: int) -> None:
        self.id = jobid
        self.userid = -1
        self.state = FLUX_JOB_STATE_NEW
        self.result = 0
        self.order = (0, 0.0, jobid)
        self.fields: dict[str, Any] = {}
        self._severity = _NONE
        self._nodes: tuple[Hostlist, IDset] | None = None

    # -- what comes with submit and alloc

    def set_jobspec(self, jobspec: Mapping[str, Any]) -> None:
        """Take name, counts, duration and the like; a part that is not as it should be is left out."""
        system = (jobspec.get("attributes") or {}).get("system") or {}
        fields = self.fields
        for key in _SYSTEM_ATTRIBUTES:
            if isinstance(system.get(key), str):
                fields[key] = system[key]
        fields["name"] = _name(jobspec, system)
        duration = system.get("duration")
        if isinstance(duration, int | float):
            fields["duration"] = float(duration)
        fields.update(_counts(jobspec))

    def set_R(self, R: Mapping[str, Any]) -> None:
        """Take what the job was given."""
        execution = R["execution"]
        ranks = IDset().union(*(entry["rank"] for entry in execution["R_lite"]))
        self._nodes = None
        self.fields.update(
            ranks=ranks.encode(_BRACKETED),
            nnodes=ranks.count(),
            ncores=sum(
                IDset(entry["rank"]).count() * IDset(entry["children"].get("core", "")).count()
                for entry in execution["R_lite"]
            ),
            nodelist=str(Hostlist(execution.get("nodelist", []))),
            expiration=float(execution.get("expiration", 0)),
        )

    def assigned(self) -> tuple[Hostlist, IDset] | None:
        """The hosts and ranks of the job; None while it has none."""
        if self._nodes is None and "ranks" in self.fields:
            self._nodes = Hostlist(self.fields["nodelist"]), IDset(self.fields["ranks"])
        return self._nodes

    # -- events

    def apply(self, event: Mapping[str, Any]) -> None:
        """Take one event of the job's eventlog; names it does not know have no effect."""
        handler = _HANDLERS.get(event["name"])
        if handler is not None:
            handler(self, event["timestamp"], event.get("context") or {})

    def _enter(self, state: int, timestamp: float) -> None:
        self.state = state
        self.fields.setdefault(_TIME_OF_STATE[state], timestamp)

    def _submit(self, timestamp: float, context: Mapping[str, Any]) -> None:
        self.order = (0, timestamp, self.id)
        self.userid = context["userid"]
        self.fields.update(userid=context["userid"], urgency=context["urgency"], t_submit=timestamp)

    def _validate(self, timestamp: float, _context: Mapping[str, Any]) -> None:
        self._enter(FLUX_JOB_STATE_DEPEND, timestamp)

    def _depend(self, timestamp: float, _context: Mapping[str, Any]) -> None:
        self._enter(FLUX_JOB_STATE_PRIORITY, timestamp)

    def _set_priority(self, timestamp: float, context: Mapping[str, Any]) -> None:
        self.fields["priority"] = context["priority"]
        self.order = (-context["priority"], *self.order[1:])
        if self.state == FLUX_JOB_STATE_PRIORITY:
            self._enter(FLUX_JOB_STATE_SCHED, timestamp)

    def _urgency(self, _timestamp: float, context: Mapping[str, Any]) -> None:
        self.fields["urgency"] = context["urgency"]
        self._reconsider()

    def _reconsider(self, *_: Any) -> None:
        """What a scheduler may decide anew puts the job before it once more."""
        if self.state == FLUX_JOB_STATE_SCHED:
            self.state = FLUX_JOB_STATE_PRIORITY

    def _alloc(self, timestamp: float, context: Mapping[str, Any]) -> None:
        if "annotations" in context:
            self._annotate(timestamp, context)
        if self.state == FLUX_JOB_STATE_SCHED:
            self._enter(FLUX_JOB_STATE_RUN, timestamp)

    def _finish(self, timestamp: float, context: Mapping[str, Any]) -> None:
        self.fields["waitstatus"] = context["status"]
        if self.state == FLUX_JOB_STATE_RUN:
            self._enter(FLUX_JOB_STATE_CLEANUP, timestamp)

    def _exception(self, timestamp: float, context: Mapping[str, Any]) -> None:
        severity = context["severity"]
        if severity < self._severity:
            self._severity = severity
            self.fields.update(
                exception_type=context["type"],
                exception_severity=severity,
                exception_note=context.get("note", ""),
            )
        if severity == _SEVEREST and self.state < FLUX_JOB_STATE_CLEANUP:
            self._enter(FLUX_JOB_STATE_CLEANUP, timestamp)

    def _clean(self, timestamp: float, _context: Mapping[str, Any]) -> None:
        self._enter(FLUX_JOB_STATE_INACTIVE, timestamp)
        if self._severity == _SEVEREST:
            self.result = _RESULT_OF_EXCEPTION.get(self.fields["exception_type"], FLUX_JOB_RESULT_FAILED)
        else:
            failed = self.fields.get("waitstatus", 1)
            self.result = FLUX_JOB_RESULT_FAILED if failed else FLUX_JOB_RESULT_COMPLETED
        success = self.result == FLUX_JOB_RESULT_COMPLETED
        self.fields.update(result=self.result, success=success, exception_occurred=self._severity != _NONE)

    def _annotate(self, _timestamp: float, context: Mapping[str, Any]) -> None:
        if context.get("annotations"):
            self.fields["annotations"] = context["annotations"]
        else:
            self.fields.pop("annotations", None)

    def _memo(self, _timestamp: float, context: Mapping[str, Any]) -> None:
        annotations = dict(self.fields.get("annotations") or {})
        user = {**(annotations.get("user") or {}), **context}
        annotations["user"] = {key: value for key, value in user.items() if value is not None}
        self.fields["annotations"] = annotations

    def _add_dependency(self, _timestamp: float, context: Mapping[str, Any]) -> None:
        self.fields["dependencies"] = [*self.fields.get("dependencies", ()), context["description"]]

    def _remove_dependency(self, _timestamp: float, context: Mapping[str, Any]) -> None:
        left = [text for text in self.fields.get("dependencies", ()) if text != context["description"]]
        if left:
            self.fields["dependencies"] = left
        else:
            self.fields.pop("dependencies", None)

    def _update_jobspec(self, _timestamp: float, context: Mapping[str, Any]) -> None:
        for path, value in context.items():
            key = path.removeprefix("attributes.system.")
            if key == "job.name":
                self.fields["name"] = value
            elif key == "duration":
                self.fields["duration"] = float(value)
            elif key in _SYSTEM_ATTRIBUTES:
                self.fields[key] = value
        self._reconsider()

    def _update_resource(self, _timestamp: float, context: Mapping[str, Any]) -> None:
        if "expiration" in context:
            self.fields["expiration"] = float(context["expiration"])

    # -- answers

    def encode(self, attrs: list[str]) -> dict[str, Any]:
        """The attributes asked for, as far as they are known; what they hold for states that are over is kept back."""
        fields, result = self.fields, {"id": self.id}
        for attr in attrs:
            if attr == "state":
                result[attr] = self.state
            elif attr in fields and (attr not in _EXCEPTION or self.state == FLUX_JOB_STATE_INACTIVE):
                result[attr] = fields[attr]
        return result


_EXCEPTION = frozenset({"exception_occurred", "exception_type", "exception_severity", "exception_note"})

_HANDLERS = {
    "submit": ListedJob._submit,
    "validate": ListedJob._validate,
    "depend": ListedJob._depend,
    "priority": ListedJob._set_priority,
    "urgency": ListedJob._urgency,
    "flux-restart": ListedJob._reconsider,
    "alloc": ListedJob._alloc,
    "finish": ListedJob._finish,
    "exception": ListedJob._exception,
    "clean": ListedJob._clean,
    "annotations": ListedJob._annotate,
    "memo": ListedJob._memo,
    "dependency-add": ListedJob._add_dependency,
    "dependency-remove": ListedJob._remove_dependency,
    "jobspec-update": ListedJob._update_jobspec,
    "resource-update": ListedJob._update_resource,
}


def _name(jobspec: Mapping[str, Any], system: Mapping[str, Any]) -> str:
    """The job's name, or that of its program."""
    name = (system.get("job") or {}).get("name")
    if isinstance(name, str):
        return name
    try:
        command = jobspec["tasks"][0]["command"]
        return os.path.basename(command if isinstance(command, str) else command[0])
    except (KeyError, IndexError, TypeError):
        return ""


def _counts(jobspec: Mapping[str, Any]) -> dict[str, int]:
    """ntasks, and of nnodes and ncores what the jobspec (RFC 25) tells before there are resources."""
    counts: dict[str, int] = {}
    try:
        vertex, factor = jobspec["resources"][0], 1
        if vertex["type"] == "node":
            counts["nnodes"] = factor = vertex["count"]
            vertex = vertex["with"][0]
        slots = factor * vertex["count"]
        cores = next(child["count"] for child in vertex["with"] if child["type"] == "core")
        counts["ncores"] = slots * cores
        asked = jobspec["tasks"][0]["count"]
        counts["ntasks"] = asked["total"] if "total" in asked else slots * asked["per_slot"]
    except (KeyError, IndexError, TypeError, StopIteration):
        pass  # a general jobspec (RFC 14): its counts are known when it has resources
    return {key: value for key, value in counts.items() if isinstance(value, int)}
