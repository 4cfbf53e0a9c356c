"""The service NAME.rexec: processes at the places of a job, for `flux exec --jobid` (RFC 42).

The broker's subprocess server runs them. This plugin passes requests and answers on, keeps the processes of one job
apart from others, and ends those that are left when the tasks of the shell have ended. A client of a broker whose user
is another one than the job's is refused by the broker, which asks for the owner's role.
"""

from __future__ import annotations

import errno
import signal
from typing import TYPE_CHECKING, Any

from flux.core.reactor import Timer
from flux.errors import FluxError
from flux.hooks.shell import DEFERRED, hookimpl
from flux.message import FLAG_STREAMING, Message
from flux.rexec_signing import is_required_by, verify_request
from flux.rpc import RPC
from flux.util import parse_fsd
from flux_shell.option_names import object_of

if TYPE_CHECKING:
    from flux_shell.shell import Shell

__all__ = ["Rexec"]

_TIMEOUT = "60s"


class _Stream:
    """A client's streaming request, passed on to the broker by an RPC of ours; pid is 0 until the process runs."""

    def __init__(self, rpc: RPC) -> None:
        self.rpc = rpc
        self.pid = 0


class Rexec:
    """Passes the requests of RFC 42 on to the subprocess server of this shell's broker."""

    def __init__(self) -> None:
        self._streams: dict[tuple[str, int], _Stream] = {}
        self._pids: set[int] = set()
        self._timer: Timer | None = None

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        self._shell = shell
        self._timeout = _shutdown_timeout(shell.options.get("rexec-shutdown-timeout", _TIMEOUT))
        asked = shell.options.get("rexec")
        if asked != 1:  # -o rexec: there is nothing to turn on
            object_of("rexec", asked, "rexec.sign-required", ("sign-required",))
        self._needs_signature = is_required_by(shell.options)
        self._rank = shell.job.nodes[shell.rank].rank
        self._prefix = f"{shell.service}:"
        for method in ("exec", "kill", "wait"):
            shell.on_request(f"rexec.{method}", self._pass_on)
        for method in ("write", "credit"):
            shell.on_request(f"rexec.{method}", self._pass_on_to_stream)
        shell.on_request("rexec.list", self._list)
        shell.on_request("rexec.disconnect", self._disconnect)

    @hookimpl
    def shell_finish(self, shell: Shell) -> None:
        """Let processes end as they like for a while, so that their clients hear of their end."""
        for pid in self._pids:
            self._kill(pid, signal.SIGTERM)
        if self._streams:
            shell.add_completion_ref("rexec")
            self._timer = shell.reactor.call_later(self._timeout, self._kill_all)

    def _kill_all(self) -> None:
        for pid in self._pids:
            self._kill(pid)

    @hookimpl
    def shell_exit(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._kill_all()

    def _drop(self, key: tuple[str, int]) -> None:
        """A client's process has ended, or the client is gone: once all have, the shell need not stay."""
        stream = self._streams.pop(key, None)
        if stream is not None:
            self._pids.discard(stream.pid)
            if self._timer is not None and not self._streams:
                self._shell.remove_completion_ref("rexec")

    # -- requests

    def _pass_on(self, msg: Message) -> Any:
        method = msg.topic.rpartition(".")[2]
        payload = self._request(msg)
        if method == "exec":
            payload["cmd"] = self._labelled(payload["cmd"])
        else:
            payload = self._checked(self._labelled(payload))
        rpc = self._call(method, payload, msg.flags & FLAG_STREAMING)
        if msg.flags & FLAG_STREAMING:
            self._streams[msg.sender, msg.matchtag] = _Stream(rpc)
        rpc.then(self._answer, msg)
        return DEFERRED

    def _request(self, msg: Message) -> dict[str, Any]:
        """What is asked for: what is signed, where there is a signature (RFC 42, Request Authentication)."""
        payload = dict(msg.payload or {})
        if "signature" in payload:
            return verify_request(payload["signature"], msg.topic, self._shell.flux.conf_get("sign", {}))
        if self._needs_signature:
            text = "request signature required: the job's option rexec.sign-required asks for signed requests (RFC 42)"
            raise FluxError(errno.EPERM, text)
        return payload

    def _call(self, method: str, payload: dict[str, Any], flags: int = 0) -> RPC:
        return RPC(self._shell.flux, f"rexec.{method}", payload, self._rank, flags)

    def _labelled(self, named: dict[str, Any]) -> dict[str, Any]:
        """Labels are unique per broker: the job's get its name in front."""
        label = named.get("label")
        return {**named, "label": self._prefix + label} if label is not None else named

    def _checked(self, payload: dict[str, Any]) -> dict[str, Any]:
        if payload.get("label") is None and payload["pid"] not in self._pids:
            raise FluxError(errno.ESRCH, f"pid {payload['pid']} does not belong to any subprocess of this job")
        return payload

    def _pass_on_to_stream(self, msg: Message) -> Any:
        payload = self._request(msg)
        stream = self._streams.get((msg.sender, payload["matchtag"]))
        if stream is not None:
            self._notify(msg.topic.rpartition(".")[2], {**payload, "matchtag": stream.rpc.matchtag})
        return DEFERRED

    def _list(self, msg: Message) -> Any:
        self._request(msg)
        self._call("list", {}).then(self._listed, msg)
        return DEFERRED

    def _disconnect(self, msg: Message) -> Any:
        """A client is gone: what it had started in the foreground ends, as the broker does it for its own clients."""
        for sender, matchtag in list(self._streams):
            if sender == msg.sender:
                self._kill(self._streams[sender, matchtag].pid)
                self._drop((sender, matchtag))
        return DEFERRED

    def _kill(self, pid: int, signum: int = signal.SIGKILL) -> None:
        if pid:
            self._notify("kill", {"pid": pid, "signum": signum})

    def _notify(self, method: str, payload: dict[str, Any]) -> None:
        self._shell.flux.notify(f"rexec.{method}", payload, self._rank)

    # -- answers

    def _answer(self, rpc: RPC, msg: Message) -> None:
        stream = self._streams.get((msg.sender, msg.matchtag))
        try:
            answer = rpc.get()
        except FluxError as exc:
            self._shell.flux.respond_error(msg, exc.errno, str(exc))
            self._drop((msg.sender, msg.matchtag))
            return
        if answer and answer.get("type") == "started":
            self._started(answer["pid"], msg, stream)
        self._shell.flux.respond(msg, answer)
        if msg.flags & FLAG_STREAMING:
            rpc.reset()

    def _started(self, pid: int, msg: Message, stream: _Stream | None) -> None:
        self._pids.add(pid)
        if stream is not None:
            stream.pid = pid
        elif msg.flags & FLAG_STREAMING:
            self._kill(pid)  # the client has gone meanwhile

    def _listed(self, rpc: RPC, msg: Message) -> None:
        try:
            answer = rpc.get()
        except FluxError as exc:
            self._shell.flux.respond_error(msg, exc.errno, str(exc))
            return
        procs = [proc for proc in answer["procs"] if proc["pid"] in self._pids]
        named = [{**proc, "label": proc["label"].removeprefix(self._prefix)} for proc in procs]
        self._shell.flux.respond(msg, {**answer, "procs": named})


def _shutdown_timeout(asked: object) -> float:
    try:
        return parse_fsd(str(asked))
    except ValueError as exc:
        raise ValueError(f"rexec-shutdown-timeout: {exc}") from None
