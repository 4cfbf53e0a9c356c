"""The barrier service: clients of any rank wait until as many as they said are there (flux.Flux.barrier)."""

from __future__ import annotations

import errno
from typing import Any

import msgspec

from flux.errors import FluxError
from flux.message import Message
from flux.module import DEFERRED, USER, Module, request

__all__ = ["BarrierService"]


class EnterRequest(msgspec.Struct):
    """nprocs: how many enter, this one included; all must say the same."""

    name: str
    nprocs: int


class Meeting(msgspec.Struct):
    """One barrier: who is there already, by client."""

    nprocs: int
    waiting: dict[str, Message] = {}


class BarrierService(Module):
    """Keeps every barrier of the instance on rank 0, those of each user apart."""

    name = "barrier"
    ranks = "0"

    def __init__(self) -> None:
        self._meetings: dict[tuple[int, str], Meeting] = {}
        self._complete = self._aborted = 0

    @request("enter", allow=USER, payload=EnterRequest)
    def enter(self, msg: Message, req: EnterRequest) -> Any:
        if not req.name or req.nprocs < 1:
            raise FluxError(errno.EINVAL, "a barrier has a name, and at least one process that enters it")
        key = (msg.userid, req.name)
        meeting = self._meetings.get(key)
        if meeting is None:
            meeting = self._meetings[key] = Meeting(req.nprocs)
        if meeting.nprocs != req.nprocs:
            raise FluxError(errno.EINVAL, f"barrier {req.name} is for {meeting.nprocs} processes, not {req.nprocs}")
        if msg.sender in meeting.waiting:
            raise FluxError(errno.EEXIST, f"this client is in barrier {req.name} already")
        meeting.waiting[msg.sender] = msg
        if len(meeting.waiting) == meeting.nprocs:
            del self._meetings[key]
            self._complete += 1
            for waiting in meeting.waiting.values():
                self.respond(waiting)
        return DEFERRED

    def disconnected(self, sender: str) -> None:
        for key in [key for key, meeting in self._meetings.items() if sender in meeting.waiting]:
            self._abort(key[1], self._meetings.pop(key), sender)

    def _abort(self, name: str, meeting: Meeting, sender: str) -> None:
        self._aborted += 1
        error = FluxError(errno.ECANCELED, f"a client that was in barrier {name} has left")
        for client, msg in meeting.waiting.items():
            if client != sender:
                self.respond_error(msg, error)

    def stop(self) -> None:
        error = FluxError(errno.ECANCELED, "the barrier service ends")
        for meeting in self._meetings.values():
            for msg in meeting.waiting.values():
                self.respond_error(msg, error)
        self._meetings.clear()

    def stats(self) -> dict[str, Any]:
        waiting = {name: [len(m.waiting), m.nprocs] for (_user, name), m in self._meetings.items()}
        return {"complete": self._complete, "aborted": self._aborted, "waiting": waiting}
