"""Keys of jobs: jobspec, R, eventlogs (RFC 16; manual page ``flux.job.lookup``)."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable

import msgspec

from flux.constants import FLUX_JOB_LOOKUP_CURRENT
from flux.errors import FluxError
from flux.future import WaitAllFuture
from flux.job.JobID import JobID
from flux.rpc import RPC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.core.base import Handle

__all__ = ["JobInfoLookupRPC", "JobKVSLookup", "JobKVSLookupFuture", "job_info_lookup", "job_kvs_lookup"]

_OBJECTS = ("jobspec", "R")
_decode_json = msgspec.json.Decoder().decode


class JobInfoLookupRPC(RPC):
    """Values of keys, by key; `id` is the job's.

    Errors, when they are got: ENOENT no such job or key; EPERM somebody else's job.
    """

    def __init__(self, flux_handle: Handle, jobid: int | str, keys: Iterable[str], flags: int) -> None:
        self.jobid = jobid if isinstance(jobid, JobID) else JobID(jobid)
        payload = {"id": self.jobid, "keys": list(keys), "flags": flags}
        super().__init__(flux_handle, "job-info.lookup", payload)

    def get_decode(self) -> dict[str, Any]:
        """The same with jobspec and R decoded from JSON."""
        return {key: _decode_json(value) if key in _OBJECTS else value for key, value in self.get().items()}


def job_info_lookup(
    flux_handle: Handle, jobid: int | str, keys: Iterable[str] = ("jobspec",), flags: int = 0
) -> JobInfoLookupRPC:
    """Ask for keys of a job.

    Args:
        keys: as in the job's KVS directory, such as "R" or "guest.exec.eventlog".
        flags: FLUX_JOB_LOOKUP_JSON_DECODE, FLUX_JOB_LOOKUP_CURRENT.
    """
    return JobInfoLookupRPC(flux_handle, jobid, keys, flags)


class JobKVSLookupFuture(WaitAllFuture):
    """The answers about several jobs.

    Attributes:
        errors: a sentence for each job that could not be looked up, after the data were got.
    """

    def __init__(self, handle: Handle, original: bool) -> None:
        super().__init__(handle=handle)
        self.errors: list[str] = []
        self._original = original

    def get_data(self, decode: bool) -> list[dict[str, Any]]:
        """What was found, blocking, an object for each job."""
        self.errors = []
        return [data for rpc in self.children.values() if (data := self._data_of(rpc, decode)) is not None]

    def _data_of(self, rpc: Any, decode: bool) -> dict[str, Any] | None:
        try:
            return _read(rpc, decode, self._original)
        except FileNotFoundError:
            self.errors.append(f"JobID {rpc.jobid.orig} unknown")
        except FluxError as exc:
            self.errors.append(f"rpc: {exc}")
        return None


def _read(rpc: JobInfoLookupRPC, decode: bool, original: bool) -> dict[str, Any]:
    found = dict(rpc.get())
    if original and "J" in found:
        found["jobspec"] = _signed_jobspec(found["J"])
    return {key: _decode_json(value) if decode and key in _OBJECTS else value for key, value in found.items()}


def _signed_jobspec(signed: str) -> str:
    """The payload of a J (RFC 16)."""
    return b64decode(signed.split(".")[1]).decode()


def _wanted(keys: list[str], original: bool) -> list[str]:
    """The keys to ask for: the jobspec as it was submitted is in J."""
    return list(dict.fromkeys("J" if original and key == "jobspec" else key for key in keys))


class JobKVSLookup:
    """Keys of several jobs.

    Args:
        ids: of the jobs. keys: see `job_info_lookup`.
        decode: give jobspec and R as objects instead of JSON text.
        original: the jobspec as it was submitted.
        base: jobspec and R as they are in the KVS, without later updates.

    Attributes:
        errors: see `JobKVSLookupFuture`.
    """

    def __init__(
        self,
        flux_handle: Handle,
        ids: Iterable[int | str] = (),
        keys: Iterable[str] = ("jobspec",),
        decode: bool = True,
        original: bool = False,
        base: bool = False,
    ) -> None:
        self.handle = flux_handle
        self.ids = [JobID(jobid) for jobid in ids]
        self.keys = list(keys)
        self.decode = decode
        self.original = original
        self.base = base
        self.errors: list[str] = []

    def fetch_data(self) -> JobKVSLookupFuture:
        """Ask about all jobs at once."""
        answers = JobKVSLookupFuture(self.handle, self.original)
        for jobid in self.ids:
            answers.push(job_info_lookup(self.handle, jobid, _wanted(self.keys, self.original), _flags(self.base)))
        return answers

    def data(self) -> list[dict[str, Any]]:
        """What was found, blocking: for each job that there is, an object with its `id` and the keys."""
        if not self.ids:
            return []
        answers = self.fetch_data()
        found = answers.get_data(self.decode)
        self.errors = answers.errors
        return [_only(data, self.keys) for data in found]


def _flags(base: bool) -> int:
    return 0 if base else FLUX_JOB_LOOKUP_CURRENT


def _only(data: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key in ("id", *keys)}


def job_kvs_lookup(
    flux_handle: Handle,
    jobid: int | str,
    keys: Iterable[str] = ("jobspec",),
    decode: bool = True,
    original: bool = False,
    base: bool = False,
) -> dict[str, Any] | None:
    """Keys of one job, blocking; None when there is no such job or key. Arguments: `JobKVSLookup`.

    Raises:
        FluxError: EPERM for somebody else's job.
    """
    wanted = list(keys)
    rpc = job_info_lookup(flux_handle, jobid, _wanted(wanted, original), _flags(base))
    try:
        return _only(_read(rpc, decode, original), wanted)
    except FileNotFoundError:
        return None
