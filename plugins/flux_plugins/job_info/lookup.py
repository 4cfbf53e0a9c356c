"""`job-info.lookup`: keys of a job's directory, all at once (RFC 41)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import msgspec

from flux.constants import FLUX_JOB_LOOKUP_CURRENT, FLUX_JOB_LOOKUP_JSON_DECODE, FLUX_KVS_TREEOBJ
from flux.errors import FluxError, ProtocolError
from flux.job.fluid import encode
from flux.kvs.requests import Lookup, lookup_async
from flux.message import ROLE_OWNER, Message
from flux_plugins.job_info.current import UPDATE_EVENTS, apply_updates, events_of, userid_of

if TYPE_CHECKING:
    from flux_plugins.job_info.module import JobInfo

__all__ = ["KeyLookup", "check_owner"]

_FLAGS = FLUX_JOB_LOOKUP_JSON_DECODE | FLUX_JOB_LOOKUP_CURRENT
_decode_json = msgspec.json.Decoder().decode
_encode_json = msgspec.json.Encoder().encode


def check_owner(msg: Message, eventlog: bytes) -> None:
    """FluxError EPERM when the job is not the sender's, and the sender is not the instance owner."""
    if not msg.rolemask & ROLE_OWNER and msg.userid != userid_of(eventlog):
        raise FluxError(errno.EPERM, "access is restricted to job/instance owner")


class KeyLookup:
    """One request: its KVS lookups go out together, and the last answer makes the response.

    Args:
        id: job id. keys: wanted keys, relative to the job's directory. flags: see `LookupRequest`.
    """

    def __init__(self, service: JobInfo, msg: Message, id: int, keys: list[str], flags: int) -> None:
        if flags & ~_FLAGS:
            raise ProtocolError("lookup request rejected with invalid flag")
        self._service = service
        self._msg = msg
        self._id = id
        self._keys = keys
        self._flags = flags
        self._values: dict[str, bytes] = {}
        self._failed = False
        self._left = 0

    def start(self) -> None:
        wanted = dict.fromkeys(self._keys)
        current = self._flags & FLUX_JOB_LOOKUP_CURRENT and any(key in UPDATE_EVENTS for key in self._keys)
        if current or not self._msg.rolemask & ROLE_OWNER:
            wanted["eventlog"] = None
        self._left = len(wanted)
        if not wanted:
            self._finish()
        for key in wanted:
            lookup = lookup_async(self._service.flux, f"{encode(self._id, 'kvs')}.{key}", namespace="primary")
            lookup.then(self._received, key)

    def _received(self, lookup: Lookup, key: str) -> None:
        self._left -= 1
        if self._failed:
            return
        try:
            self._values[key] = lookup.value()
        except FluxError as exc:
            self._fail(key, exc)
            return
        if self._left == 0:
            self._finish()

    def _fail(self, key: str, error: FluxError) -> None:
        self._failed = True
        if error.errno != errno.ENOENT:
            self._service.respond_error(self._msg, error)
            return
        directory = lookup_async(self._service.flux, encode(self._id, "kvs"), FLUX_KVS_TREEOBJ, namespace="primary")
        directory.then(self._explain, key)

    def _explain(self, directory: Lookup, key: str) -> None:
        """Say whether it was the key or the job that does not exist."""
        try:
            directory.get()
            text = f"{key}: key not found"
        except FluxError:
            text = "invalid job id"
        self._service.respond_error(self._msg, FluxError(errno.ENOENT, text))

    def _finish(self) -> None:
        try:
            if "eventlog" in self._values:
                check_owner(self._msg, self._values["eventlog"])
            answer = {"id": self._id} | {key: self._value(key) for key in self._keys}
        except (ValueError, KeyError, FluxError) as exc:
            self._service.respond_error(self._msg, exc)
        else:
            self._service.respond(self._msg, answer)

    def _value(self, key: str) -> Any:
        raw = self._values[key]
        if key not in UPDATE_EVENTS:
            return raw.decode()
        if not self._flags & FLUX_JOB_LOOKUP_CURRENT:
            return _decode_json(raw) if self._flags & FLUX_JOB_LOOKUP_JSON_DECODE else raw.decode()
        obj = apply_updates(key, _decode_json(raw), events_of(self._values["eventlog"]))
        return obj if self._flags & FLUX_JOB_LOOKUP_JSON_DECODE else _encode_json(obj).decode()
