"""The execution service's side of the job manager (RFC 32).

Requests and responses are matched by job id, with match tag 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flux.message import FLAG_STREAMING, NODEID_ANY, REQUEST, Message
from flux_plugins.job_manager.job import RUN, Job

if TYPE_CHECKING:
    from flux_plugins.job_manager.manager import Manager

__all__ = ["Execution"]


class Execution:
    """The start requests that are with the execution service.

    Attributes:
        topic: of its start method; "" while there is no execution service.
    """

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._sender = ""
        self.topic = ""

    def hello(self, msg: Message, service: str) -> None:
        """An execution service registers, in place of any other; it gets the jobs that are waiting for one."""
        self._reset()
        self._sender = msg.sender
        self.topic = f"{service}.start"
        self._manager.flux.respond(msg)
        for job in list(self._manager.jobs.values()):
            if job.has_resources:
                self._manager.advance(job)

    def start(self, job: Job) -> None:
        """Ask for the job's shells to be started, or taken over when they were before."""
        if not self.topic:
            return
        request = {
            "id": job.id,
            "userid": job.userid,
            "jobspec": job.jobspec,
            "R": job.R,
            "reattach": job.launched,
        }
        job.executing = job.launched = True
        message = Message(REQUEST, self.topic, request, flags=FLAG_STREAMING, aux=NODEID_ANY, routes=[])
        self._manager.flux.send_message(message)
        self._manager.debug_event(job, "debug.start-request")

    def expire(self, job: Job, expiration: float) -> None:
        """Tell the execution service of a job it runs that it ends at another time."""
        if self.topic and job.executing:
            service = self.topic.rpartition(".")[0]
            self._manager.flux.notify(f"{service}.expiration", {"id": job.id, "expiration": expiration})

    def disconnected(self, sender: str) -> None:
        """A client went away; was it the execution service?"""
        if sender == self._sender:
            self._reset()

    def _reset(self) -> None:
        self._sender = self.topic = ""
        for job in self._manager.jobs.values():
            job.executing = False

    def stats(self) -> dict[str, Any]:
        """service: topic of the start requests, "" when there is no execution service. jobs: that run or are ending."""
        return {"service": self.topic, "jobs": sum(job.state >= RUN for job in self._manager.jobs.values())}

    def on_response(self, msg: Message) -> None:
        """Take one response of a start request's stream."""
        if msg.aux:
            self._manager.log.error("the execution service failed and is taken for dead", error=str(msg.error))
            self._reset()
            return
        payload = msg.payload or {}
        job = self._manager.jobs.get(payload.get("id", 0))
        handler = _HANDLERS.get(payload.get("type", ""))
        if job is None or not job.executing or handler is None:
            self._manager.log.error("the execution service's answer fits no job it was given", payload=payload)
            return
        handler(self._manager, job, payload.get("data") or {})


def _started(manager: Manager, job: Job, data: dict[str, Any]) -> None:
    manager.post(job, "start")


def _reattached(manager: Manager, job: Job, data: dict[str, Any]) -> None:
    manager.debug_event(job, "debug.exec-reattach-finish")


def _released(manager: Manager, job: Job, data: dict[str, Any]) -> None:
    manager.post(job, "release", {"ranks": data["ranks"], "final": data["final"]})


def _failed(manager: Manager, job: Job, data: dict[str, Any]) -> None:
    manager.raise_exception(job, data["type"], data["severity"], data.get("note", ""))


def _finished(manager: Manager, job: Job, data: dict[str, Any]) -> None:
    manager.post(job, "finish", {"status": data["status"]})


_HANDLERS = {
    "start": _started,
    "reattached": _reattached,
    "release": _released,
    "exception": _failed,
    "finish": _finished,
}
