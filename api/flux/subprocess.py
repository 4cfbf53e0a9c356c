"""Background processes on any broker of the instance: start, list, signal, await (RFC 42; flux-sproc(1)).

For processes whose input and output a program handles itself see `flux.rexec`. Requests are signed where the server
asks for it (`flux.rexec_signing`); the argument `sign` says otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from flux.constants import FLUX_NODEID_ANY
from flux.rexec import WAITABLE, exec_request
from flux.rexec_signing import RequestSigner, signer_for
from flux.rpc import RPC
from flux.stdio import decode_io

if TYPE_CHECKING:
    from flux.core.handle import Flux

__all__ = [
    "SUBPROCESS_REXEC_WAITABLE",
    "Subprocess",
    "SubprocessBackgroundRexecRPC",
    "SubprocessListRPC",
    "SubprocessWaitRPC",
    "command_create",
    "kill",
    "list",
    "rexec_bg",
    "wait",
]

SUBPROCESS_REXEC_WAITABLE = WAITABLE


class Subprocess(NamedTuple):
    """A process. state: "R" while it runs, "Z" when it waits for who awaits it. label: "-" when it has none."""

    pid: int
    rank: int
    state: str
    label: str
    cmd: str


class SubprocessBackgroundRexecRPC(RPC):
    """A process that is being started."""

    def get_pid(self) -> int:
        """Its id, blocking until it runs."""
        return int(self.get()["pid"])

    def get_rank(self) -> int:
        """Of the broker that runs it."""
        return int(self.get_flux().get_rank() if self.nodeid == FLUX_NODEID_ANY else self.nodeid)


class SubprocessWaitRPC(RPC):
    """The end of a process."""

    def get_status(self) -> int:
        """Its wait status, blocking until it has ended; os.waitstatus_to_exitcode() explains it."""
        return int(self.get()["status"])

    def get_output(self) -> Sequence[Mapping[str, Any]]:
        """What the server has kept of its last output, as objects of RFC 42."""
        kept: Sequence[Mapping[str, Any]] = self.get().get("output", ())
        return kept

    def _bytes(self, stream: str) -> bytes:
        return b"".join(chunk.data for chunk in map(decode_io, self.get_output()) if chunk.stream == stream)

    @property
    def stdout(self) -> bytes:
        """What has been kept of its standard output."""
        return self._bytes("stdout")

    @property
    def stderr(self) -> bytes:
        """What has been kept of its standard error."""
        return self._bytes("stderr")


class SubprocessListRPC(RPC):
    """The processes of a broker."""

    def get_processes(self) -> Sequence[Subprocess]:
        """All of them, blocking until the answer is there."""
        answer = self.get()
        rank = answer["rank"]
        return [Subprocess(p["pid"], rank, p["state"], p["label"] or "-", p["cmd"]) for p in answer["procs"]]


def command_create(
    command: Sequence[str],
    label: str | None = None,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    opts: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The RFC 42 object of a command.

    Args:
        label: another name for the process than its id. cwd, env: default those of this process.
        opts: of the subprocess server.
    """
    request = json.loads(exec_request(command, label=label, cwd=cwd, env=env, opts=opts))
    found: dict[str, Any] = request["cmd"]
    return found


def rexec_bg(
    handle: Flux,
    command: Sequence[str],
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    label: str | None = None,
    waitable: bool = False,
    service: str = "rexec",
    nodeid: int = FLUX_NODEID_ANY,
    sign: bool | None = None,
) -> SubprocessBackgroundRexecRPC:
    """Start a process in the background. The rest is as for command_create().

    Args:
        waitable: somebody is going to `wait` for it.
        service: name of the subprocess server. nodeid: rank of its broker; default this one.

    Errors, when the result is got: ENOENT, EACCES the command cannot be run; EEXIST the label is taken; EHOSTUNREACH no
    such broker; EPERM not the instance owner.
    """
    request = exec_request(command, cwd=cwd, env=env, label=label, flags=WAITABLE if waitable else 0)
    return SubprocessBackgroundRexecRPC(handle, *_addressed(handle, service, "exec", request, sign), nodeid=int(nodeid))


def kill(
    handle: Flux,
    signum: int = 15,
    pid: int | None = None,
    label: str | None = None,
    service: str = "rexec",
    nodeid: int = FLUX_NODEID_ANY,
    sign: bool | None = None,
) -> RPC:
    """Signal the process that has an id or a label. Errors, when the result is got: ESRCH there is none."""
    request = {**_named(pid, label), "signum": int(signum)}
    return RPC(handle, *_addressed(handle, service, "kill", request, sign), nodeid=int(nodeid))


def wait(
    handle: Flux,
    pid: int | None = None,
    label: str | None = None,
    service: str = "rexec",
    nodeid: int = FLUX_NODEID_ANY,
    sign: bool | None = None,
) -> SubprocessWaitRPC:
    """Await the end of a waitable process. Errors, when it is got: ESRCH there is none; ECHILD it is not waitable."""
    return SubprocessWaitRPC(handle, *_addressed(handle, service, "wait", _named(pid, label), sign), nodeid=int(nodeid))


def _named(pid: int | None, label: str | None) -> dict[str, Any]:
    if (pid is None) == (label is None):
        raise ValueError("expected either the pid or the label of a process")
    return {"pid": -1, "label": label} if pid is None else {"pid": int(pid)}


def list(
    handle: Flux, service: str = "rexec", nodeid: int = FLUX_NODEID_ANY, sign: bool | None = None
) -> SubprocessListRPC:
    """Ask for the processes of a broker."""
    return SubprocessListRPC(handle, *_addressed(handle, service, "list", {}, sign), nodeid=int(nodeid))


def _addressed(
    handle: Flux, service: str, method: str, request: str | dict[str, Any], sign: bool | None
) -> tuple[str, str | dict[str, Any]]:
    """Topic and payload of a request."""
    topic = f"{service}.{method}"
    signer = (RequestSigner(handle) if sign else None) if sign is not None else signer_for(handle, service)
    return topic, request if signer is None else signer(topic, request)
