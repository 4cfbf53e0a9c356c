"""`job-info.update-watch`: R or jobspec, again after each update of it (RFC 41)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from flux.constants import (
    FLUX_KVS_WATCH,
    FLUX_KVS_WATCH_APPEND,
    FLUX_KVS_WATCH_INITIAL_SENTINEL,
    KVS_PRIMARY_NAMESPACE,
)
from flux.errors import FluxError
from flux.job.fluid import encode
from flux.kvs.requests import Lookup, lookup_async
from flux.message import Message
from flux_plugins.job_info.current import UPDATE_EVENTS, apply_updates, events_of
from flux_plugins.job_info.follower import Follower
from flux_plugins.job_info.requests import UpdateWatchRequest

if TYPE_CHECKING:
    from flux_plugins.job_info.module import JobInfo

__all__ = ["UpdateWatch"]

_decode_json = msgspec.json.Decoder().decode


class UpdateWatch:
    """One request: the stored object, and the job's eventlog applied to it as it grows.

    Args:
        on_end: called with the request when it has been answered for the last time.
    """

    def __init__(
        self, service: JobInfo, msg: Message, req: UpdateWatchRequest, on_end: Callable[[Message], None]
    ) -> None:
        self._service = service
        self._msg = msg
        self._req = req
        self._on_end = on_end
        self._directory = encode(req.id, "kvs")
        self._object: dict[str, Any] = {}
        self._follower: Follower | None = None
        self._live = False
        self._ended = False

    def start(self) -> None:
        key = f"{self._directory}.{self._req.key}"
        lookup_async(self._service.flux, key, 0, KVS_PRIMARY_NAMESPACE).then(self._found)

    def close(self) -> None:
        """The client has gone away or cancelled."""
        self._ended = True
        if self._follower is not None:
            self._follower.stop()

    def _found(self, lookup: Lookup) -> None:
        if self._ended:
            return
        try:
            self._object = _decode_json(lookup.value())
        except (FluxError, ValueError) as exc:
            self._fail(exc)
            return
        self._follower = Follower(
            self._service,
            self._msg,
            f"{self._directory}.eventlog",
            KVS_PRIMARY_NAMESPACE,
            FLUX_KVS_WATCH | FLUX_KVS_WATCH_APPEND | FLUX_KVS_WATCH_INITIAL_SENTINEL,
            self._on_events,
            self._fail,
        )

    def _on_events(self, data: bytes | None) -> None:
        if data is None:
            self._live = True
            self._respond()
            return
        events = list(events_of(data))
        self._object = apply_updates(self._req.key, self._object, events)
        names = {event["name"] for event in events}
        if "clean" in names:
            if not self._live:
                self._respond()
            self._fail(FluxError(errno.ENODATA))
        elif self._live and UPDATE_EVENTS[self._req.key] in names:
            self._respond()

    def _respond(self) -> None:
        self._service.respond(self._msg, {"id": self._req.id, self._req.key: self._object})

    def _fail(self, error: Exception) -> None:
        if not self._ended:
            self.close()
            self._service.respond_error(self._msg, error)
            self._on_end(self._msg)
