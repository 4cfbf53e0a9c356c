"""The job-info service: read-only access to the data of a job, for its owner (RFC 41)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from flux.constants import FLUX_JOB_LOOKUP_CURRENT, FLUX_JOB_LOOKUP_JSON_DECODE, KVS_PRIMARY_NAMESPACE
from flux.errors import FluxError
from flux.job.fluid import encode
from flux.kvs.requests import Lookup, lookup_async
from flux.message import ROLE_OWNER, Message
from flux.module import DEFERRED, USER, Module, Subscribers, request
from flux_plugins.job_info.lookup import KeyLookup, check_owner
from flux_plugins.job_info.requests import LookupRequest, UpdateLookupRequest, UpdateWatchRequest, WatchRequest
from flux_plugins.job_info.update import UpdateWatch
from flux_plugins.job_info.watch import EventlogWatch

__all__ = ["JobInfo"]

Watch = EventlogWatch | UpdateWatch


class JobInfo(Module):
    """Lookups and watches of what is stored of jobs."""

    name = "job-info"
    requires = ("kvs", "kvs-watch")
    after = ("kvs", "kvs-watch")

    def __init__(self) -> None:
        self._watches: dict[tuple[str, int], Watch] = {}
        self._requests = Subscribers(self, on_drop=self._dropped)
        self._lookups = 0

    def stats(self) -> dict[str, int]:
        guests = sum(isinstance(watch, EventlogWatch) and watch.is_guest for watch in self._watches.values())
        updates = sum(isinstance(watch, UpdateWatch) for watch in self._watches.values())
        return {
            "lookups": self._lookups,
            "watchers": len(self._watches) - updates,
            "guest_watchers": guests,
            "update_lookups": 0,
            "update_watchers": updates,
        }

    # -- lookups

    @request("lookup", allow=USER, payload=LookupRequest)
    def lookup(self, msg: Message, req: LookupRequest) -> Any:
        self._lookups += 1
        KeyLookup(self, msg, req.id, req.keys, req.flags).start()
        return DEFERRED

    @request("update-lookup", allow=USER, payload=UpdateLookupRequest)
    def update_lookup(self, msg: Message, req: UpdateLookupRequest) -> Any:
        if req.key != "R":
            raise FluxError(errno.EINVAL, "update-lookup unsupported key specified")
        self._lookups += 1
        flags = FLUX_JOB_LOOKUP_JSON_DECODE | FLUX_JOB_LOOKUP_CURRENT
        KeyLookup(self, msg, req.id, [req.key], flags).start()
        return DEFERRED

    # -- watches

    @request("eventlog-watch", allow=USER, streaming=True, payload=WatchRequest, cancel="eventlog-watch-cancel")
    def eventlog_watch(self, msg: Message, req: WatchRequest) -> Any:
        return self._begin(msg, req.id, EventlogWatch(self, msg, req, self._ended))

    @request("update-watch", allow=USER, streaming=True, payload=UpdateWatchRequest, cancel="update-watch-cancel")
    def update_watch(self, msg: Message, req: UpdateWatchRequest) -> Any:
        return self._begin(msg, req.id, UpdateWatch(self, msg, req, self._ended))

    def _begin(self, msg: Message, jobid: int, watch: Watch) -> Any:
        if msg.rolemask & ROLE_OWNER:
            self._start(msg, watch)
        else:
            self._authorize(msg, jobid, lambda: self._start(msg, watch))
        return DEFERRED

    def _start(self, msg: Message, watch: Watch) -> None:
        self._watches[msg.sender, msg.matchtag] = watch
        self._requests.add(msg)
        watch.start()

    def _authorize(self, msg: Message, jobid: int, proceed: Callable[[], None]) -> None:
        """Go on when the job is the sender's."""
        key = f"{encode(jobid, 'kvs')}.eventlog"
        lookup_async(self.flux, key, 0, KVS_PRIMARY_NAMESPACE).then(self._authorized, msg, proceed)

    def _authorized(self, lookup: Lookup, msg: Message, proceed: Callable[[], None]) -> None:
        try:
            check_owner(msg, lookup.value())
        except (FluxError, ValueError, KeyError) as exc:
            missing = isinstance(exc, FluxError) and exc.errno == errno.ENOENT
            self.respond_error(msg, FluxError(errno.ENOENT, "invalid job id") if missing else exc)
        else:
            proceed()

    def _dropped(self, msg: Message) -> None:
        self._watches.pop((msg.sender, msg.matchtag)).close()

    def _ended(self, msg: Message) -> None:
        self._requests.discard(msg)
        self._watches.pop((msg.sender, msg.matchtag), None)
