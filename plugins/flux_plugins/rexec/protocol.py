"""Requests of the subprocess server (RFC 42) as types."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

__all__ = [
    "AttachRequest",
    "Command",
    "CreditRequest",
    "ExecRequest",
    "Flag",
    "KillRequest",
    "LocalFlag",
    "MessageChannel",
    "ResumeRequest",
    "WaitRequest",
    "WriteRequest",
]


class Flag:
    """Bits of `flags` in an exec request."""

    STDOUT = 1
    STDERR = 2
    CHANNEL = 4
    WRITE_CREDIT = 8
    WAITABLE = 16


class LocalFlag:
    """Bits of `local_flags` in an exec request."""

    STDIO_FALLTHROUGH = 1
    NO_SETPGRP = 2
    FORK_EXEC = 4


class MessageChannel(Struct):
    """name: of the environment variable that gets the process's URI. uri: where its messages go, "local://PATH"."""

    name: str
    uri: str


class Command(Struct):
    """What to run: RFC 42, command object. Message channels are named `msgchan` by stock clients, `msgchans` there."""

    cmdline: list[str]
    env: dict[str, str] = {}
    opts: dict[str, str] = {}
    channels: list[str] = []
    cwd: str | None = None
    label: str | None = None
    msgchan: list[MessageChannel] = []
    msgchans: list[MessageChannel] = []


class ExecRequest(Struct):
    """The exec request of RFC 42, and an extension.

    Attributes:
        output_window: bytes of output that may be on their way before the client has granted more by `credit`;
            0 for no such limit. A server that knows it repeats it in its "started" response.
        signature: RFC 39, refused: a broker runs processes of its own user alone, whom the connection shows; what asks
            for signatures is the server of a job's shells.
        resumable: a name by which the client may take the request up again with `resume`; needs an output_window.
        heir: with resumable: the process does not end with its client, and whoever names this heir may resume.
        quiet: with resumable: the end of a stream is told only together with its last data.
        brief: what a program of a warm parent may take from here instead of asking for it; others are not told.
    """

    cmd: Command = field(default_factory=lambda: Command([]))
    flags: int = 0
    local_flags: int = 0
    output_window: int = 0
    resumable: str = ""
    heir: str = ""
    quiet: bool = False
    brief: dict[str, Any] = {}
    signature: str = ""


class AttachRequest(Struct):
    pid: int
    flags: int
    label: str | None = None


class CreditRequest(Struct):
    """count: bytes of output that the client has taken since the last one."""

    matchtag: int
    count: int


class ResumeRequest(Struct):
    """The way to a process broke: go on with it (an extension of RFC 42, see ExecRequest.resumable).

    Attributes:
        name: that the exec request gave it.
        received: number of output responses that have come in answer to it, and to earlier resume requests; negative
            for who takes it up first, and is told in the "started" response how many there had been (`sent`; absent
            when the process started after that).
        heir: that the exec request named.
    """

    name: str
    received: int
    heir: str = ""


class KillRequest(Struct):
    pid: int
    signum: int
    label: str | None = None


class WaitRequest(Struct):
    pid: int
    label: str | None = None


class WriteRequest(Struct):
    matchtag: int
    io: dict[str, Any]
