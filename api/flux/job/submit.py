"""Submit a job and learn its id (RFC 14, RFC 25; manual page ``flux.job.submit``)."""

from __future__ import annotations

import errno
import os
from binascii import b2a_base64

from flux import jsontext
from flux.constants import (
    FLUX_JOB_DEBUG,
    FLUX_JOB_NOVALIDATE,
    FLUX_JOB_URGENCY_DEFAULT,
    FLUX_JOB_WAITABLE,
)
from flux.errors import FluxError
from flux.job.JobID import JobID
from flux.rpc import RPC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.core.base import Handle
    from flux.job.Jobspec import Jobspec

__all__ = ["SubmitFuture", "encode_jobspec", "submit", "submit_async", "wrap", "wrap_unsigned"]


class SubmitFuture(RPC):
    """A submission on its way."""

    def get_id(self) -> JobID:
        """The job's id, blocking until it is assigned. FluxError with the reason when the job is refused."""
        return JobID(self.get()["id"])


def submit(
    flux_handle: Handle,
    jobspec: Jobspec | str | bytes | dict[str, Any],
    urgency: int = FLUX_JOB_URGENCY_DEFAULT,
    waitable: bool = False,
    debug: bool = False,
    pre_signed: bool = False,
) -> JobID:
    """Submit a job and wait for its id. Arguments and errors: `submit_async`."""
    return submit_async(flux_handle, jobspec, urgency, waitable, debug, pre_signed).get_id()


def submit_async(
    flux_handle: Handle,
    jobspec: Jobspec | str | bytes | dict[str, Any],
    urgency: int = FLUX_JOB_URGENCY_DEFAULT,
    waitable: bool = False,
    debug: bool = False,
    pre_signed: bool = False,
    novalidate: bool = False,
) -> SubmitFuture:
    """Submit a job.

    Args:
        jobspec: a Jobspec, its JSON text or the object it stands for.
        urgency: 0 (hold) to 31 (expedite); guests may go up to 16.
        waitable: `flux.job.wait` may be used on it; instance owner only.
        debug: let the job manager add debug events to the job's eventlog.
        pre_signed: jobspec is a signed one already (RFC 39).
        novalidate: skip validation; instance owner only.

    Errors, when the id is got: EINVAL malformed or out of range; EPERM not allowed to this user; whatever a
    validator or a job policy refuses the job with, and its sentence. At once: ENOTSUP or EINVAL when a guest cannot
    sign the job.
    """
    signed = str(jobspec) if pre_signed else wrap(flux_handle, encode_jobspec(jobspec))
    flags = FLUX_JOB_WAITABLE * waitable | FLUX_JOB_DEBUG * debug | FLUX_JOB_NOVALIDATE * novalidate
    return SubmitFuture(flux_handle, "job-ingest.submit", {"J": signed, "urgency": int(urgency), "flags": flags})


def encode_jobspec(jobspec: Jobspec | str | bytes | dict[str, Any]) -> bytes:
    """The JSON text of a jobspec in any of its forms. FluxError EINVAL when it is none of them."""
    if isinstance(jobspec, str):
        return jobspec.encode()
    if isinstance(jobspec, bytes):
        return jobspec
    spec = jobspec if isinstance(jobspec, dict) else getattr(jobspec, "jobspec", None)
    if not isinstance(spec, dict):
        raise FluxError(errno.EINVAL, f"a jobspec is a Jobspec, a dict or JSON text, not {type(jobspec).__name__}")
    return jsontext.encode(spec)


def wrap(flux_handle: Handle, jobspec: bytes) -> str:
    """A jobspec in the envelope that the instance wants of this user (RFC 39): guests sign theirs.

    Errors: those of `flux.job.munge.sign` or `flux.job.curve.sign`; EINVAL for a wrong `sign.default-type`.
    """
    userid = os.getuid()
    if _is_owner(flux_handle, userid):
        return wrap_unsigned(jobspec, userid)
    from flux.job.signing import sign

    return sign(jobspec, userid, flux_handle.rpc("config.get").get().get("sign") or {})


def _is_owner(flux_handle: Handle, userid: int) -> bool:
    """Does the instance belong to this user? Only connections of scripts ask: services run as its owner."""
    from flux.core.handle import Flux

    return not isinstance(flux_handle, Flux) or int(flux_handle.attr_get("security.owner")) == userid


def wrap_unsigned(jobspec: bytes, userid: int) -> str:
    """A jobspec in the envelope of signature mechanism "none", which only the instance owner may use (RFC 39)."""
    return (envelope(jobspec, userid, b"none") + b".none").decode()


def envelope(jobspec: bytes, userid: int, mechanism: bytes, more: bytes = b"") -> bytes:
    """HEADER.PAYLOAD of a signed jobspec (RFC 39). more: keys and values of the mechanism's own (RFC 38)."""
    header = b"version\0i1\0userid\0i%d\0mechanism\0s%b\0%b" % (userid, mechanism, more)
    return b".".join((b2a_base64(header, newline=False), b2a_base64(jobspec, newline=False)))
