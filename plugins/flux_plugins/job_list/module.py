"""The job list service: follows the job manager's journal, answers queries (RFC 43)."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from itertools import islice
from typing import Any

from flux.constants import FLUX_JOB_STATE_ACTIVE, FLUX_JOB_STATE_INACTIVE
from flux.errors import FluxError
from flux.job.fluid import encode as encode_id
from flux.kvs import lookup_async
from flux.message import FLAG_STREAMING, Message
from flux.module import ALL, DEFERRED, USER, Module, Subscribers, event, request
from flux.module.access import check_public, is_private
from flux_plugins.job_list.attributes import ATTRIBUTES, expand
from flux_plugins.job_list.constraint import Match, compile_constraint
from flux_plugins.job_list.job import ListedJob
from flux_plugins.job_list.pages import Pages
from flux_plugins.job_list.protocol import ListIdRequest, ListRequest
from flux_plugins.job_list.store import Store

__all__ = ["JobList"]

STATS_INTERVAL = 0.1
"""Seconds between two updates of those who watch the statistics."""

STREAM_SLICE = 500
"""Jobs that are told to one client before others have their turn."""

_VERSION = 1
_ANYBODY = 0xFFFFFFFF


class JobList(Module):
    """All jobs of the instance, for whoever asks."""

    name = "job-list"
    requires = ("job-manager", "kvs")
    after = ("job-manager", "kvs")
    ranks = "0"

    def __init__(self) -> None:
        self.store = Store()
        self._pages = Pages()
        self._journal: Any = None
        self._caught_up = False
        self._held: list[tuple[Message, Any]] = []
        self._waiting: dict[int, list[tuple[Message, ListIdRequest]]] = {}
        self._stats_watchers = Subscribers(self)
        self._stats_timer: Any = None
        self._lookups = 0

    def start(self) -> None:
        self._journal = self.flux.rpc("job-manager.events-journal", {"full": True}, flags=FLAG_STREAMING)
        self._journal.then(self._journal_ready)

    def stop(self) -> None:
        if self._journal is not None:
            self._journal.cancel("job-manager.events-journal-cancel")
        if self._stats_timer is not None:
            self._stats_timer.cancel()

    # -- journal

    @event("module.restarted")
    def module_restarted(self, msg: Message) -> None:
        """Follow a new job manager, from the beginning: what the old one had told last may not have lasted."""
        if msg.payload["rank"] == self.rank and msg.payload["name"] == "job-manager":
            self.store = Store()
            self._caught_up = False
            self.start()

    def _journal_ready(self, journal: Any) -> None:
        while journal.is_ready():
            try:
                entry = journal.get()
            except FluxError as exc:
                self._journal_ended(exc)
            else:
                self._take(entry)
            journal.reset()

    def _take(self, entry: dict[str, Any]) -> None:
        if entry["id"] < 0:
            self._catch_up()
            return
        job = self.store.apply(entry)
        if job.id in self._waiting:
            self._answer_waiting(job)
        if len(self._stats_watchers) and self._stats_timer is None:
            self._stats_timer = self.flux.call_later(STATS_INTERVAL, self._publish_stats)

    def _catch_up(self) -> None:
        """The job manager has told all that happened so far: answer who asked before."""
        self._caught_up = True
        held, self._held = self._held, []
        for msg, answer in held:
            try:
                answer()
            except FluxError as exc:
                self.respond_error(msg, exc)

    def _journal_ended(self, error: FluxError) -> None:
        if error.errno not in (errno.ENODATA, errno.ENOSYS):
            self.log.error(f"the job manager's journal has ended: {error}")
        waiting, self._waiting = self._waiting, {}
        for requests in waiting.values():
            for msg, _ in requests:
                self.flux.respond_error(msg, errno.ENOSYS, "the job manager is gone")

    @event("job-purge-inactive")
    def job_purge_inactive(self, msg: Message) -> None:
        for jobid in msg.payload["jobs"]:
            self.store.purge(jobid)

    def _when_caught_up(self, msg: Message, answer: Any) -> Any:
        if self._caught_up:
            return answer()
        self._held.append((msg, answer))
        return DEFERRED

    # -- list

    @request("list", allow=USER, streaming="optional", payload=ListRequest)
    def list_jobs(self, msg: Message, req: ListRequest) -> Any:
        if req.cursor is not None:
            return self._pages.resume(msg.sender, req.cursor)
        match = self._match(msg, req)
        attrs = expand(req.attrs)
        return self._when_caught_up(msg, lambda: self._list(msg, req, match, attrs))

    def _list(self, msg: Message, req: ListRequest, match: Match, attrs: list[str]) -> Any:
        if msg.is_streaming:
            jobs = self.store.snapshot(match, req.max_entries, req.since)
            self._stream(msg, jobs, attrs, {"version": _VERSION})
        elif req.page:
            jobs = self.store.snapshot(match, req.max_entries, req.since)
            self.respond(msg, self._pages.begin(msg.sender, jobs, attrs, req.page))
        else:
            jobs = self.store.select(match, req.max_entries, req.since)
            self.respond(msg, {"jobs": [job.encode(attrs) for job in jobs]})
        return DEFERRED

    def _stream(self, msg: Message, jobs: Iterator[ListedJob], attrs: list[str], extra: dict[str, Any]) -> None:
        slice = list(islice(jobs, STREAM_SLICE))
        for job in slice:
            self.respond(msg, {"jobs": [job.encode(attrs)], **extra})
            extra = {}
        if len(slice) == STREAM_SLICE:
            self.flux.call_soon(lambda: self._stream(msg, jobs, attrs, extra))
        else:
            self.flux.respond_error(msg, errno.ENODATA)

    def _match(self, msg: Message, req: ListRequest) -> Match:
        parts: list[dict[str, Any]] = [req.constraint] if req.constraint else []
        if req.userid is not None and req.userid not in (-1, _ANYBODY):
            parts.append({"userid": [req.userid]})
        if req.states or req.results:
            either = [{"states": [req.states & FLUX_JOB_STATE_ACTIVE]}, _inactive(req.states, req.results)]
            parts.append({"or": either})
        parts += [{key: [value]} for key, value in (("name", req.name), ("queue", req.queue)) if value is not None]
        if is_private(self.conf, msg):
            parts.append({"userid": [msg.userid]})
        return compile_constraint({"and": parts})

    # -- list-id

    @request("list-id", allow=USER, payload=ListIdRequest)
    def list_id(self, msg: Message, req: ListIdRequest) -> Any:
        expand(req.attrs)
        return self._when_caught_up(msg, lambda: self._list_id(msg, req))

    def _list_id(self, msg: Message, req: ListIdRequest) -> Any:
        job = self.store.find(req.id)
        if job is not None:
            self._answer_id(job, msg, req)
            return DEFERRED
        self._lookups += 1
        lookup_async(self.flux, encode_id(req.id, "kvs"), namespace="primary").then(self._known, msg, req)
        return DEFERRED

    def _known(self, lookup: Any, msg: Message, req: ListIdRequest) -> None:
        """The journal has not told of the job yet; the KVS tells whether it will."""
        try:
            lookup.value()
        except FluxError as exc:
            if exc.errno != errno.EISDIR:
                self.flux.respond_error(msg, exc.errno, "" if exc.errno == errno.ENOENT else str(exc))
                return
        job = self.store.find(req.id)
        if job is not None:
            self._answer_id(job, msg, req)
        else:
            self._waiting.setdefault(req.id, []).append((msg, req))

    def _answer_id(self, job: ListedJob, msg: Message, req: ListIdRequest) -> None:
        if is_private(self.conf, msg) and job.userid != msg.userid:
            self.flux.respond_error(msg, errno.ENOENT)
        elif job.state < req.state & -req.state:  # the first of several, such as those of "running"
            self._waiting.setdefault(req.id, []).append((msg, req))
        else:
            self.respond(msg, {"job": job.encode(expand(req.attrs))})

    def _answer_waiting(self, job: ListedJob) -> None:
        for msg, req in self._waiting.pop(job.id):
            self._answer_id(job, msg, req)

    def disconnected(self, sender: str) -> None:
        self._pages.forget(sender)
        self._held = [(msg, answer) for msg, answer in self._held if msg.sender != sender]
        for jobid, requests in list(self._waiting.items()):
            left = [(msg, req) for msg, req in requests if msg.sender != sender]
            if left:
                self._waiting[jobid] = left
            else:
                del self._waiting[jobid]

    # -- the rest

    @request("list-attrs", allow=USER)
    def list_attrs(self, _msg: Message) -> dict[str, Any]:
        return {"attrs": [*ATTRIBUTES, "all"]}

    @request("job-stats", allow=USER, streaming="optional")
    def job_stats(self, msg: Message) -> Any:
        check_public(self.conf, msg)
        if not msg.is_streaming:
            return self.store.stats.encode()
        self._stats_watchers.add(msg)
        self.respond(msg, self.store.stats.encode())
        return DEFERRED

    def _publish_stats(self) -> None:
        self._stats_timer = None
        self._stats_watchers.publish(self.store.stats.encode())

    @request("stats-get", allow=ALL)
    def stats_get(self, msg: Message) -> dict[str, Any]:
        check_public(self.conf, msg)
        return {**self.runner.counters.as_dict(), **self.stats()}

    def stats(self) -> dict[str, Any]:
        store = self.store
        return {
            "jobs": {"pending": len(store.pending), "running": len(store.running), "inactive": len(store.inactive)},
            "idsync": {"lookups": self._lookups, "waits": sum(map(len, self._waiting.values()))},
            "stats_watchers": len(self._stats_watchers),
            "lists": len(self._pages),
        }


def _inactive(states: int, results: int) -> dict[str, Any]:
    """Of the form before constraints: inactive jobs, with one of the results when any is given."""
    wanted: dict[str, Any] = {"states": [states & FLUX_JOB_STATE_INACTIVE]}
    return {"results": [results]} if results else wanted
