"""The barrier service: clients of any rank wait until as many as they said are there (flux.Flux.barrier).

Rank 0 keeps the barriers. The other ranks know their own clients, and enter for them, again when a broker on the way
is lost meanwhile; rank 0 knows an entry by its name and counts it once. A rank that is lost cancels what its clients
were in.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec

from flux.core.steady import SteadyRPC
from flux.errors import FluxError
from flux.future import Future
from flux.idset import IDset
from flux.message import Message
from flux.module import DEFERRED, USER, Module, request
from flux.module.presence import Presence

__all__ = ["BarrierService"]

_REMEMBERED = 4096  # entries that have been answered, so that one which comes again is answered the same way


class EnterRequest(msgspec.Struct):
    """nprocs: how many enter, this one included; all must say the same."""

    name: str
    nprocs: int


class RelayRequest(msgspec.Struct):
    """A client of another rank enters. entry: unique in the instance."""

    name: str
    nprocs: int
    userid: int
    rank: int
    entry: str


class LeaveRequest(msgspec.Struct):
    """The client of an entry is gone."""

    entry: str


class Entry(NamedTuple):
    """Someone who waits. msg: the request to be answered."""

    msg: Message
    rank: int


class Meeting(msgspec.Struct):
    """One barrier: who is there already."""

    nprocs: int
    waiting: dict[str, Entry] = {}


class BarrierService(Module):
    """Keeps every barrier of the instance on rank 0, those of each user apart."""

    name = "barrier"

    def __init__(self) -> None:
        self._meetings: dict[tuple[int, str], Meeting] = {}
        self._answered: dict[str, FluxError | None] = {}
        self._relayed: dict[tuple[str, str], str] = {}
        self._origin = uuid4().hex[:8]
        self._count = self._complete = self._aborted = 0

    def start(self) -> None:
        if self.rank == 0 and self.size > 1:
            Presence(self.flux, self._ranks_gone, self.log.error)

    # -- entering

    @request("enter", allow=USER, payload=EnterRequest)
    def enter(self, msg: Message, req: EnterRequest) -> Any:
        if not req.name or req.nprocs < 1:
            raise FluxError(errno.EINVAL, "a barrier has a name, and at least one process that enters it")
        place = (msg.sender, req.name)
        if place in self._relayed:
            raise FluxError(errno.EEXIST, f"this client is in barrier {req.name} already")
        self._count += 1
        entry = self._relayed[place] = f"{self.rank}.{self._origin}.{self._count}"
        relay = RelayRequest(req.name, req.nprocs, msg.userid, self.rank, entry)
        if self.rank == 0:
            self._answer_or_keep(msg, relay, place)
        else:
            self._ask_leader("relay", msgspec.to_builtins(relay)).then(self._relay_answered, msg, place)
        return DEFERRED

    def _answer_or_keep(self, msg: Message, relay: RelayRequest, place: tuple[str, str]) -> None:
        try:
            self._enter(msg, relay)
        except FluxError:
            del self._relayed[place]
            raise

    def _ask_leader(self, method: str, payload: Any) -> SteadyRPC:
        return SteadyRPC(self.flux, partial(self.flux.rpc, f"barrier.{method}", payload, 0))

    def _relay_answered(self, answer: Future, msg: Message, place: tuple[str, str]) -> None:
        self._relayed.pop(place, None)
        try:
            answer.get()
        except FluxError as exc:
            self.respond_error(msg, exc)
        else:
            self.respond(msg)

    # -- rank 0

    @request("relay", payload=RelayRequest)
    def relay(self, msg: Message, req: RelayRequest) -> Any:
        if req.entry not in self._answered:
            self._enter(msg, req)
            return DEFERRED
        error = self._answered[req.entry]
        if error is not None:
            raise error
        return None

    def _enter(self, msg: Message, req: RelayRequest) -> None:
        key = (req.userid, req.name)
        meeting = self._meetings.get(key)
        if meeting is None:
            meeting = self._meetings[key] = Meeting(req.nprocs)
        if meeting.nprocs != req.nprocs:
            raise FluxError(errno.EINVAL, f"barrier {req.name} is for {meeting.nprocs} processes, not {req.nprocs}")
        meeting.waiting[req.entry] = Entry(msg, req.rank)
        if len(meeting.waiting) == meeting.nprocs:
            self._complete += 1
            self._finish(key, None)

    def _finish(self, key: tuple[int, str], error: FluxError | None) -> None:
        for name, entry in self._meetings.pop(key).waiting.items():
            self._remember(name, error)
            self._relayed.pop((entry.msg.sender, key[1]), None)
            if error is None:
                self.respond(entry.msg)
            else:
                self.respond_error(entry.msg, error)

    def _remember(self, entry: str, error: FluxError | None) -> None:
        self._answered[entry] = error
        if len(self._answered) > _REMEMBERED:
            del self._answered[next(iter(self._answered))]

    def _abort(self, who: Callable[[str, Entry], bool], text: str) -> None:
        """Cancel every barrier that one of those is in."""
        for key, meeting in list(self._meetings.items()):
            if any(who(name, entry) for name, entry in meeting.waiting.items()):
                self._aborted += 1
                self._finish(key, FluxError(errno.ECANCELED, f"a client that was in barrier {key[1]} {text}"))

    def _ranks_gone(self, ranks: IDset) -> None:
        self._abort(lambda _name, entry: entry.rank in ranks, f"was on a broker that is lost (ranks {ranks})")

    # -- leaving

    def disconnected(self, sender: str) -> None:
        if self.rank == 0:
            self._abort(lambda _name, entry: entry.msg.sender == sender, "has left")
        for place in [place for place in self._relayed if place[0] == sender]:
            self._ask_leader("leave", {"entry": self._relayed.pop(place)}).then(self._left)

    def _left(self, answer: Future) -> None:
        text = answer.error_string()
        if text:
            self.log.error(f"barriers are not told that a client has gone: {text}")

    @request("leave", payload=LeaveRequest)
    def leave(self, _msg: Message, req: LeaveRequest) -> None:
        self._abort(lambda name, _entry: name == req.entry, "has left")

    def stop(self) -> None:
        error = FluxError(errno.ECANCELED, "the barrier service ends")
        for key in list(self._meetings):
            self._finish(key, error)

    def stats(self) -> dict[str, Any]:
        waiting = {name: [len(m.waiting), m.nprocs] for (_user, name), m in self._meetings.items()}
        return {"complete": self._complete, "aborted": self._aborted, "waiting": waiting}
