"""Requests to a subprocess server in signed form (RFC 42, Request Authentication): how they are made, and checked."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flux.errors import FluxError

if TYPE_CHECKING:
    from flux.core.base import Handle
    from flux.core.handle import Flux

__all__ = ["RequestSigner", "is_required_by", "signer_for", "verify_request"]


class RequestSigner:
    """Signs requests as this process's user, by the table `[sign]` of the instance (flux-config-ingest(5))."""

    def __init__(self, flux_handle: Flux) -> None:
        self._table = flux_handle.conf_get("sign", {})

    def __call__(self, topic: str, request: str | Mapping[str, Any]) -> dict[str, Any]:
        """A request, encoded or not, in signed form. Errors: those of `flux.job.signing.sign`."""
        from flux.job.signing import sign

        payload = json.loads(request) if isinstance(request, str) else request
        content = json.dumps({**payload, "topic": topic}, separators=(",", ":"))
        return {"signature": sign(content.encode(), os.getuid(), self._table)}


def signer_for(flux_handle: Handle, service: str) -> RequestSigner | None:
    """What signs requests to a subprocess server; None for one that asks for no signatures.

    The server of a job's shells does when the job was submitted with `-o rexec.sign-required`, and every one does of
    users to whom the instance does not belong. Only connections of scripts ask: services run as its owner.
    """
    from flux.core.handle import Flux

    if not isinstance(flux_handle, Flux):
        return None
    is_foreign = int(flux_handle.attr_get("security.owner")) != os.getuid()
    return RequestSigner(flux_handle) if is_foreign or _asks(flux_handle, service) else None


def _asks(flux_handle: Flux, service: str) -> bool:
    _userid, is_shell, name = service.removesuffix(".rexec").partition("-shell-")
    if not is_shell:
        return False
    from flux.job.JobID import JobID

    try:
        request = {"id": int(JobID(name)), "keys": ["jobspec"], "flags": 0}
        jobspec = json.loads(flux_handle.rpc("job-info.lookup", request).get()["jobspec"])
    except (ValueError, FluxError):
        return False  # no such job: what is sent to its service says so
    return is_required_by(((jobspec["attributes"].get("system") or {}).get("shell") or {}).get("options") or {})


def is_required_by(options: Mapping[str, Any]) -> bool:
    """Do these shell options ask for signatures, by `rexec.sign-required`?"""
    asked = options.get("rexec")
    return isinstance(asked, dict) and bool(asked.get("sign-required"))


def verify_request(signature: object, topic: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """The request that was signed, by this process's user and for this topic: nothing else of its message counts.

    Args:
        signature: of the request's payload. table: `[sign]` of the instance.

    Raises:
        FluxError: EPROTO for what is no text, EPERM for every other reason.
    """
    from flux.job.signed import decode
    from flux.job.signing import verify

    if not isinstance(signature, str):
        raise FluxError(errno.EPROTO, f"signature is a string (RFC 39), not {type(signature).__name__}")
    try:
        signed = decode(signature)
        verify(signed, table)
        request = json.loads(signed.payload)
    except (ValueError, FluxError) as exc:
        raise FluxError(errno.EPERM, f"the request's signature is refused: {exc}") from None
    if signed.userid != os.getuid():
        raise FluxError(errno.EPERM, f"the request is signed by user {signed.userid}, not by {os.getuid()}")
    if not isinstance(request, dict) or request.pop("topic", None) != topic:
        raise FluxError(errno.EPERM, f"what is signed is no request to {topic}")
    return request
