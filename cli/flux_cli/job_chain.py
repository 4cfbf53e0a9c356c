"""The chain of what happened to a job and what it waits for, in sentences: for `flux job explain`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["Step", "chain"]

_AFTER = {
    "after-start": "to start",
    "after-finish": "to end",
    "after-success": "to succeed",
    "after-failure": "to fail",
    "after-except": "to end by an exception",
}


class Step(NamedTuple):
    """One link of the chain.

    Attributes:
        timestamp: when it happened, seconds since the epoch; None for what is so now.
        topic: of what: submission, dependency, priority, policy, queue, scheduler, resources, prolog, run, epilog,
            exception, end.
        waiting: the job waits for it.
    """

    timestamp: float | None
    topic: str
    waiting: bool
    text: str

    def line(self) -> str:
        when = "now" if self.timestamp is None else time.strftime("%b%d %H:%M:%S", time.localtime(self.timestamp))
        return f"{when:<14} {'waits' if self.waiting else 'done':<6} {self.topic:<11} {self.text}"


def chain(events: Sequence[Mapping[str, Any]], facts: Mapping[str, Any], resources: Mapping[str, Any]) -> list[Step]:
    """The steps of a job, in order.

    Args:
        events: its eventlog. facts: answer of job-manager.explain. resources: what cannot be used, while it is in
            SCHED: {total, down, excluded, drained}.
    """
    past = [step for event in events for step in _past(event)]
    return past + list(_present(facts, resources))


# -- what happened


def _past(event: Mapping[str, Any]) -> Iterator[Step]:
    context, name = event.get("context") or {}, event["name"]
    teller = _TELLERS.get(name)
    if teller is not None:
        topic, text = teller(context)
        yield Step(event["timestamp"], topic, False, text)


def _submitted(context: Mapping[str, Any]) -> tuple[str, str]:
    return "submission", f"submitted by user {context['userid']} with urgency {context['urgency']}"


def _excepted(context: Mapping[str, Any]) -> tuple[str, str]:
    note = f": {context['note']}" if context.get("note") else ""
    how = "fatal" if context["severity"] == 0 else f"severity {context['severity']}"
    return "exception", f"{context['type']} ({how}){note}"


def _finished(context: Mapping[str, Any]) -> tuple[str, str]:
    status = context["status"]
    return "run", f"finished, killed by signal {status & 0x7F}" if status & 0x7F else f"finished, exit {status >> 8}"


_TELLERS: dict[str, Any] = {
    "submit": _submitted,
    "validate": lambda _: ("submission", "accepted by all policies"),
    "dependency-add": lambda c: ("dependency", f"got a dependency: {c['description']}"),
    "dependency-remove": lambda c: ("dependency", f"met: {c['description']}"),
    "depend": lambda _: ("dependency", "no dependency is left"),
    "urgency": lambda c: ("priority", f"user {c['userid']} set the urgency to {c['urgency']}"),
    "priority": lambda c: ("priority", f"priority {c['priority']}"),
    "jobspec-update": lambda c: ("submission", f"updated: {', '.join(sorted(c))}"),
    "alloc": lambda _: ("scheduler", "got its resources"),
    "prolog-start": lambda c: ("prolog", f"{c['description']} began"),
    "prolog-finish": lambda c: ("prolog", f"{c['description']} ended with status {c['status']}"),
    "start": lambda _: ("run", "its shells started"),
    "finish": _finished,
    "epilog-start": lambda c: ("epilog", f"{c['description']} began"),
    "epilog-finish": lambda c: ("epilog", f"{c['description']} ended with status {c['status']}"),
    "exception": _excepted,
    "free": lambda _: ("end", "gave its resources back"),
    "clean": lambda _: ("end", "is over"),
}


# -- what it waits for


def _present(facts: Mapping[str, Any], resources: Mapping[str, Any]) -> Iterator[Step]:
    for description in facts["dependencies"]:
        yield _waits("dependency", _dependency(description))
    for name, broken in facts["asking"]:
        why = f", which is not asked: {broken}" if broken else ""
        yield _waits("policy", f"for the answer of {name}{why}")
    for name, sentence in facts["policies"]:
        yield _waits("policy", f"{name}: {sentence}")
    state = facts["state"]
    if state == "PRIORITY" and not facts["asking"]:
        yield _waits("priority", "for a policy to assign a priority")
    elif state == "SCHED":
        yield from _scheduling(facts, resources)
    for description in facts["perilogs"]:
        yield _waits("epilog" if state == "CLEANUP" else "prolog", f"for {description} to end")


def _waits(topic: str, text: str) -> Step:
    return Step(None, topic, True, text)


def _dependency(description: str) -> str:
    kind, _, value = description.partition("=")
    if kind in _AFTER:
        return f"for job {value} {_AFTER[kind]}"
    if kind == "begin-time":
        return f"until {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(float(value)))}"
    if kind == "policy":
        return f"for policy {value}, which could not be asked about it"
    if kind == "singleton":
        return "for other jobs of its name and user to end"
    return f"for {description}"


def _scheduling(facts: Mapping[str, Any], resources: Mapping[str, Any]) -> Iterator[Step]:
    queue, sched = facts["queue"], facts["annotations"].get("sched") or {}
    if facts["priority"] == 0:
        yield _waits("priority", f"it is held: its priority is 0 (urgency {facts['urgency']})")
        return
    if not facts["scheduler"]:
        yield _waits("scheduler", "for a scheduler: none is loaded")
    elif not queue["start"]:
        name = f"queue {queue['name']}" if queue["name"] else "the queue"
        reason = f": {queue['stop_reason']}" if queue.get("stop_reason") else ""
        yield _waits("queue", f"for {name} to be started, which is stopped{reason}")
    if facts["ahead"]:
        yield _waits("scheduler", f"for jobs of the queue that come before it: {facts['ahead']}")
    reason = sched.get("reason_pending")
    asked = facts["scheduler"] and queue["start"]
    if reason or (asked and not facts["ahead"]):
        yield _waits("scheduler", str(reason or "for resources"))
    if sched.get("t_estimate"):
        estimate = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(sched["t_estimate"]))
        yield Step(None, "scheduler", False, f"its start is expected at {estimate}")
    yield from _unusable(resources)


def _unusable(resources: Mapping[str, Any]) -> Iterator[Step]:
    total = resources.get("total", 0)
    for ranks, reason in resources.get("drained", {}).items():
        why = f": {reason}" if reason else ""
        yield _waits("resources", f"of {total} nodes, ranks {ranks} are drained{why}")
    for key in ("down", "excluded"):
        if resources.get(key):
            yield _waits("resources", f"of {total} nodes, ranks {resources[key]} are {key}")
