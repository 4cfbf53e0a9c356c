"""What is checked of a submission before it gets an id (flux_job_submit(3), RFC 25)."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

import msgspec

from flux.constants import (
    FLUX_JOB_DEBUG,
    FLUX_JOB_NOVALIDATE,
    FLUX_JOB_URGENCY_DEFAULT,
    FLUX_JOB_URGENCY_MAX,
    FLUX_JOB_WAITABLE,
)
from flux.errors import FluxError, ProtocolError
from flux.job.signed import decode
from flux.job.signing import verify
from flux.message import ROLE_OWNER, Message

__all__ = ["SubmitRequest", "check_request", "redacted", "unwrap"]

_FLAGS = FLUX_JOB_DEBUG | FLUX_JOB_WAITABLE | FLUX_JOB_NOVALIDATE
_OWNERS_FLAGS = {FLUX_JOB_WAITABLE: "FLUX_JOB_WAITABLE", FLUX_JOB_NOVALIDATE: "novalidate"}
_decode_json = msgspec.json.Decoder().decode


class SubmitRequest(msgspec.Struct):
    """Payload of `job-ingest.submit`. flags: FLUX_JOB_DEBUG, WAITABLE, NOVALIDATE."""

    J: str
    urgency: int
    flags: int


def check_request(msg: Message, req: SubmitRequest) -> None:
    """Check flags and urgency. FluxError EPROTO, EINVAL or EPERM."""
    if req.flags & ~_FLAGS:
        raise ProtocolError("invalid job flags")
    if not 0 <= req.urgency <= FLUX_JOB_URGENCY_MAX:
        raise FluxError(errno.EINVAL, f"urgency range is [0:{FLUX_JOB_URGENCY_MAX}]")
    if msg.rolemask & ROLE_OWNER:
        return
    if req.urgency > FLUX_JOB_URGENCY_DEFAULT:
        text = f"only the instance owner can submit with urgency >{FLUX_JOB_URGENCY_DEFAULT}"
        raise FluxError(errno.EPERM, text)
    for flag, name in _OWNERS_FLAGS.items():
        if req.flags & flag:
            raise FluxError(errno.EPERM, f"only the instance owner can submit with {name}")


def unwrap(msg: Message, req: SubmitRequest, conf: Mapping[str, Any]) -> dict[str, Any]:
    """The jobspec of a submission, not yet validated.

    Args:
        conf: the instance's configuration, of which the table `[sign]` counts.

    Raises:
        FluxError: EINVAL for a bad J, EPERM when it is not the sender's, too old or of a type that is not allowed,
            ENOTSUP without what the type takes; see `flux.job.signing.verify`.
    """
    try:
        signed = decode(req.J)
    except ValueError as exc:
        raise FluxError(errno.EINVAL, f"could not unwrap jobspec: Invalid argument: {exc}") from None
    if signed.mechanism != "none":
        try:
            verify(signed, conf.get("sign") or {})
        except FluxError as exc:
            raise FluxError(exc.errno, f"could not unwrap jobspec: {exc}") from None
    elif not msg.rolemask & ROLE_OWNER:
        raise FluxError(errno.EPERM, "only instance owner can use sign-type=none")
    if signed.userid != msg.userid:
        raise FluxError(errno.EPERM, f"signer={signed.userid} != requestor={msg.userid}")
    try:
        jobspec = _decode_json(signed.payload)
        if not isinstance(jobspec, dict):
            raise TypeError("jobspec: expected an object")
    except (ValueError, TypeError) as exc:
        raise FluxError(errno.EINVAL, str(exc)) from None
    return jobspec


def redacted(jobspec: dict[str, Any]) -> dict[str, Any]:
    """The jobspec without its environment; the original is not changed."""
    attributes = jobspec.get("attributes") or {}
    system = attributes.get("system")
    if not isinstance(system, dict) or "environment" not in system:
        return jobspec
    system = {key: value for key, value in system.items() if key != "environment"}
    return {**jobspec, "attributes": {**attributes, "system": system}}
