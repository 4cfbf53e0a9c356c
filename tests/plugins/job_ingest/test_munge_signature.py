"""Jobs signed with MUNGE (RFC 39): who may submit to an instance that is not its own, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from flux.errors import FluxError
from flux.job import JobspecV1, submit
from flux.job.munge import sign, verify
from flux.job.submit import envelope
from flux.testing import Instance


def test_a_signature_says_who_signed_what(munge_socket: str) -> None:
    signature = sign(b"header.payload", munge_socket)
    assert "." not in signature
    for _ in range(2):  # whoever runs the job checks it again
        assert verify(b"header.payload", signature, munge_socket).userid == os.getuid()
    with pytest.raises(FluxError, match="that of something else"):
        verify(b"header.forged", signature, munge_socket)


def test_without_a_daemon_there_is_a_reason() -> None:
    with pytest.raises(FluxError, match="munge"):
        sign(b"text", "/nonexistent/socket")


def test_signed_jobs_are_taken_and_forged_ones_refused(instance: Callable[..., Instance], munge_socket: str) -> None:
    handle = instance(size=1).handle()
    jobspec = JobspecV1.from_command(["true"]).dumps().encode()

    def submit_signed(userid: int, **table: Any) -> int:
        handle.rpc("config.load", {"sign": {"munge": {"socket-path": munge_socket}, **table}}).get()
        text = envelope(jobspec, userid, b"munge")
        return int(submit(handle, f"{text.decode()}.{sign(text, munge_socket)}", pre_signed=True))

    try:
        assert submit_signed(os.getuid()) > 0
        with pytest.raises(PermissionError, match=r"munge userid=\d+ != signer="):
            submit_signed(os.getuid() + 1)
        with pytest.raises(PermissionError, match=r"older than sign\.max-ttl"):
            submit_signed(os.getuid(), **{"max-ttl": 0})
        forged = f"{envelope(b'{}', os.getuid(), b'munge').decode()}.{sign(b'other', munge_socket)}"
        with pytest.raises(FluxError, match="that of something else"):
            submit(handle, forged, pre_signed=True)
    finally:
        handle.rpc("config.load", {}).get()
