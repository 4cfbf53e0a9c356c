"""`job-info.eventlog-watch`: the entries of an eventlog as they are written (RFC 41).

Keys below `guest.` live in the namespace "job-ID" while the job runs, and in the job's directory afterwards. A watch
goes on over the change: what it has sent is counted in bytes, and the rest is read from the copy.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flux.constants import (
    FLUX_JOB_EVENT_WATCH_INITIAL_SENTINEL,
    FLUX_JOB_EVENT_WATCH_WAITCREATE,
    FLUX_KVS_STREAM,
    FLUX_KVS_TREEOBJ,
    FLUX_KVS_WAITCREATE,
    FLUX_KVS_WATCH,
    FLUX_KVS_WATCH_APPEND,
    FLUX_KVS_WATCH_INITIAL_SENTINEL,
    KVS_PRIMARY_NAMESPACE,
)
from flux.errors import FluxError, ProtocolError
from flux.job.fluid import encode
from flux.kvs.requests import Lookup, lookup_async
from flux.message import Message
from flux_plugins.job_info.follower import Follower
from flux_plugins.job_info.requests import WatchRequest
from flux_plugins.job_info.terminator import terminator

if TYPE_CHECKING:
    from flux_plugins.job_info.module import JobInfo

__all__ = ["EventlogWatch"]

GUEST = "guest."
_FOLLOW = FLUX_KVS_WATCH | FLUX_KVS_WATCH_APPEND
_FLAGS = FLUX_JOB_EVENT_WATCH_WAITCREATE | FLUX_JOB_EVENT_WATCH_INITIAL_SENTINEL


class EventlogWatch:
    """One request.

    Args:
        on_end: called with the request when it has been answered for the last time.
    """

    def __init__(self, service: JobInfo, msg: Message, req: WatchRequest, on_end: Callable[[Message], None]) -> None:
        if req.flags & ~_FLAGS:
            raise ProtocolError("eventlog-watch request rejected with invalid flag")
        self._service = service
        self._msg = msg
        self._req = req
        self._on_end = on_end
        self._directory = encode(req.id, "kvs")
        self._is_last = terminator(req.path)
        self._follower: Follower | None = None
        self._delivered = self._to_skip = 0
        self._sentinel_due = bool(req.flags & FLUX_JOB_EVENT_WATCH_INITIAL_SENTINEL)
        self._has_started = False
        self._namespace_tries = 0
        self._ended = False

    @property
    def is_guest(self) -> bool:
        return self._req.path.startswith(GUEST)

    def start(self) -> None:
        if self.is_guest:
            self._watch_namespace()
        else:
            key = f"{self._directory}.{self._req.path}"
            self._follow(key, KVS_PRIMARY_NAMESPACE, self._watch_flags(), self._deliver, self._fail)

    def close(self) -> None:
        """The client has gone away or cancelled."""
        self._ended = True
        if self._follower is not None:
            self._follower.stop()

    def _follow(self, key: str, namespace: str, flags: int, on_data: Any, on_error: Any) -> None:
        self._follower = Follower(self._service, self._msg, key, namespace, flags, on_data, on_error)

    def _watch_flags(self) -> int:
        wait = FLUX_KVS_WAITCREATE if self._req.flags & FLUX_JOB_EVENT_WATCH_WAITCREATE else 0
        return _FOLLOW | wait | (FLUX_KVS_WATCH_INITIAL_SENTINEL if self._sentinel_due else 0)

    # -- answers

    def _deliver(self, data: bytes | None) -> None:
        if data is None:
            self._send_sentinel()
            return
        self._delivered += len(data)
        for line in data.split(b"\n")[:-1]:
            self._service.respond(self._msg, {"event": line.decode() + "\n"})
            if self._is_last(line):
                self._send_sentinel()
                self._end()
                return

    def _send_sentinel(self) -> None:
        """What was there at the start has been sent; at the latest when nothing more can come."""
        if self._sentinel_due:
            self._sentinel_due = False
            self._service.respond(self._msg)

    def _end(self) -> None:
        self._fail(FluxError(errno.ENODATA))

    def _fail(self, error: FluxError) -> None:
        if self._ended:
            return
        self.close()
        self._service.respond_error(self._msg, error)
        self._on_end(self._msg)

    # -- guest keys: in the namespace, before and after it

    def _watch_namespace(self) -> None:
        self._namespace_tries += 1
        key = self._req.path.removeprefix(GUEST)
        self._follow(key, f"job-{self._req.id}", self._watch_flags(), self._deliver, self._namespace_failed)

    def _namespace_failed(self, error: FluxError) -> None:
        if error.errno == errno.ENOTSUP:
            link = f"{self._directory}.guest"
            lookup_async(self._service.flux, link, FLUX_KVS_TREEOBJ, KVS_PRIMARY_NAMESPACE).then(self._found_guest)
        else:
            self._fail(error)

    def _found_guest(self, lookup: Lookup) -> None:
        """There is no namespace: the job has not started yet, or what it held has been copied."""
        if self._ended:
            return
        try:
            obj = lookup.get()
        except FluxError as exc:
            self._guest_missing(exc)
            return
        if obj["type"] != "symlink":
            self._read_copy()
        elif self._namespace_tries < 3:
            self._watch_namespace()
        else:
            self._fail(FluxError(errno.ENOENT, f"the namespace job-{self._req.id} is gone"))

    def _guest_missing(self, error: FluxError) -> None:
        if error.errno != errno.ENOENT:
            self._fail(error)
        elif self._has_started:
            self._end()
        else:
            key = f"{self._directory}.eventlog"
            self._follow(key, KVS_PRIMARY_NAMESPACE, _FOLLOW, self._on_main_event, self._main_failed)

    def _on_main_event(self, data: bytes | None) -> None:
        if data is None or not (b'"start"' in data or b'"clean"' in data):
            return
        self._has_started = True
        assert self._follower is not None
        self._follower.stop()
        self._watch_namespace()

    def _main_failed(self, error: FluxError) -> None:
        missing = error.errno == errno.ENOENT
        self._fail(FluxError(errno.ENOENT, "invalid job id") if missing else error)

    def _read_copy(self) -> None:
        """Send what of the copy has not been sent while it was written."""
        self._to_skip = self._delivered
        key = f"{self._directory}.{self._req.path}"
        self._follow(key, KVS_PRIMARY_NAMESPACE, FLUX_KVS_STREAM, self._deliver_copy, self._copy_ended)

    def _deliver_copy(self, data: bytes | None) -> None:
        assert data is not None
        rest = data[self._to_skip :]
        self._to_skip -= len(data) - len(rest)
        self._deliver(rest)

    def _copy_ended(self, error: FluxError) -> None:
        if error.errno == errno.ENODATA:
            self._send_sentinel()
        self._fail(error)
