"""The subprocess server of a broker: `rexec.exec` and what belongs to it (RFC 42).

Runs commands for the instance owner: rc programs, `flux exec`, and the shells of jobs. The job shell is not executed
anew for each job but forked from a warm parent (`flux_plugins.rexec.warm`); clients see no difference.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec

from flux.errors import FluxError
from flux.hostlist import Hostlist
from flux.idset import IDset
from flux.message import FLAG_STREAMING, Message
from flux.module import DEFERRED, Module, request
from flux.stdio import decode_io
from flux_plugins.rexec.channels import MessageChannels
from flux_plugins.rexec.process import Process, launch_error, spawn, watch_exit
from flux_plugins.rexec.protocol import (
    AttachRequest,
    CreditRequest,
    ExecRequest,
    Flag,
    KillRequest,
    LocalFlag,
    MessageChannel,
    ResumeRequest,
    WaitRequest,
    WriteRequest,
)
from flux_plugins.rexec.replies import Attached, Background, Foreground
from flux_plugins.rexec.resumable import Resumable, Resumables
from flux_plugins.rexec.warm import WarmParent

__all__ = ["Rexec", "RexecOptions"]

_UNSET = ("FLUX_PROXY_REMOTE", "NOTIFY_SOCKET", "INVOCATION_ID")


class RexecOptions(msgspec.Struct):
    """Arguments of the module.

    Attributes:
        warm: programs that are forked from a warm parent: name to "module:function" of its server.
        preload: ranks (idset) where warm parents are started with the broker, or "host" for the first of each host;
            elsewhere they are when they are first asked for their program.
        stop_timeout: seconds that processes have between SIGTERM and SIGKILL when the server stops.
    """

    warm: dict[str, str] = msgspec.field(default_factory=lambda: {"flux-shell": "flux_shell.warm:serve"})
    preload: str = "host"
    stop_timeout: float = 5.0


class Rexec(Module):
    """Run, feed, signal and watch processes on this broker's node."""

    name = "rexec"
    stage = "boot"
    isolatable = False
    options_type: ClassVar[type[msgspec.Struct] | None] = RexecOptions

    def __init__(self) -> None:
        self._processes: set[Process] = set()
        self._by_pid: dict[int, Process] = {}
        self._by_client: dict[tuple[str, int], Process] = {}
        self.resumables = Resumables()
        self._stopping = False
        self._idle = asyncio.Event()
        self._warm: dict[str, WarmParent] = {}
        self._counts = {"started": 0, "failed": 0}

    def start(self) -> None:
        preloads = self._preloads()
        self.flux.loop.add_signal_handler(signal.SIGCHLD, self._look_for_stopped)
        for program, target in self.options.warm.items():
            warm = self._warm[program] = WarmParent(program, target, self.log.error)
            if preloads:
                warm.preload()

    def _preloads(self) -> bool:
        if self.options.preload != "host":
            return self.rank in IDset(self.options.preload)
        hosts = Hostlist(self.attrs.get("hostlist") or "")
        return self.rank == 0 or (self.rank < len(hosts) and hosts.find(hosts[self.rank]) == self.rank)

    async def stop(self) -> None:
        self._stopping = True
        await self._end_all()
        self.flux.loop.remove_signal_handler(signal.SIGCHLD)
        for warm in self._warm.values():
            warm.close()

    async def _end_all(self) -> None:
        for signum in (signal.SIGTERM, signal.SIGKILL):
            for process in list(self._processes):
                process.signal(signum)
                process.signal(signal.SIGCONT)
            self._idle.clear()
            try:
                if self._alive():
                    await asyncio.wait_for(self._idle.wait(), self.options.stop_timeout)
                return
            except TimeoutError:
                left = ", ".join(str(process.pid) for process in self._alive())
                self.log.warning(f"processes still run after signal {int(signum)}: {left}")

    def _look_for_stopped(self) -> None:
        for process in self._alive():
            if process.pid and isinstance(process.listener, Foreground):
                process.check_stopped()

    def _alive(self) -> list[Process]:
        return [process for process in self._processes if process.status is None]

    def stats(self) -> dict[str, Any]:
        warm = {name: {"pid": parent.pid, "usable": parent.usable} for name, parent in self._warm.items()}
        return {"processes": len(self._processes), **self._counts, "warm": warm}

    # -- exec

    @request("exec", streaming="optional", payload=ExecRequest)
    def exec(self, msg: Message, req: ExecRequest) -> Any:
        self._check(msg, req)
        process = self._make(msg, req)
        self._processes.add(process)
        env = self._environment(req.cmd.env)
        warm = self._warm_parent(req.cmd.cmdline[0], req)
        try:
            if warm is not None:
                warm.launch(process, env, req.brief)
            else:
                self._spawn(process, env, _message_channels(req))
        except FluxError as exc:
            process.failed(exc)
        except OSError as exc:
            process.failed(launch_error(exc))
        return DEFERRED

    def _check(self, msg: Message, req: ExecRequest) -> None:
        cmd = req.cmd
        if self._stopping:
            raise FluxError(errno.ENOSYS, "subprocess server is shutting down")
        if req.signature:
            raise FluxError(errno.EPERM, "a broker takes no signed requests, only those of its owner: send it without")
        if not cmd.cmdline:
            raise FluxError(errno.EPROTO, "command string is empty")
        if cmd.label is not None and any(process.label == cmd.label for process in self._processes):
            raise FluxError(errno.EINVAL, "command label is not unique")
        if not msg.flags & FLAG_STREAMING:
            self._check_background(req)
        elif req.flags & Flag.WAITABLE:
            raise FluxError(errno.EINVAL, "waitable flag only supported in background mode")
        elif req.resumable and req.output_window < 1:
            raise FluxError(errno.EINVAL, "a resumable request needs an output_window above 0")

    def _check_background(self, req: ExecRequest) -> None:
        if req.cmd.channels:
            raise FluxError(errno.EINVAL, "channels are not supported in background mode")
        if req.flags & Flag.WRITE_CREDIT or req.local_flags & LocalFlag.STDIO_FALLTHROUGH:
            raise FluxError(errno.EINVAL, "write-credit and stdio-fallthrough flags need a streaming request")
        if req.resumable:
            raise FluxError(errno.EINVAL, "resumable needs a streaming request")

    def _make(self, msg: Message, req: ExecRequest) -> Process:
        if not msg.flags & FLAG_STREAMING:
            background = Background(self, msg, bool(req.flags & Flag.WAITABLE))
            return Process(req.cmd, req.local_flags, ("stdout", "stderr"), background)
        streams = ["stdin"]
        streams += ["stdout"] if req.flags & Flag.STDOUT else []
        streams += ["stderr"] if req.flags & Flag.STDERR else []
        if req.local_flags & LocalFlag.STDIO_FALLTHROUGH:
            streams = []
        listener = self._foreground(msg, req)
        process = Process(req.cmd, req.local_flags, tuple(streams), listener)
        self._by_client[listener.sender, listener.matchtag] = process
        return process

    def _foreground(self, msg: Message, req: ExecRequest) -> Foreground:
        if not req.resumable:
            return Foreground(self, msg, req.flags, req.output_window)
        listener = Resumable(self, msg, req)
        self.resumables.add(listener)
        return listener

    def _environment(self, asked: dict[str, str]) -> dict[str, str]:
        env = dict(asked or os.environ)
        for name in _UNSET:
            env.pop(name, None)
        uri = self.attrs.get("local-uri") or self.broker.attrs.get("local-uri")
        if uri:
            env["FLUX_URI"] = uri
        return env

    def _warm_parent(self, program: str, req: ExecRequest) -> WarmParent | None:
        """The warm parent for a program named without a path, or by a path at which there is nothing else."""
        warm = self._warm.get(os.path.basename(program))
        if warm is None or not warm.usable or req.local_flags or req.cmd.channels or _message_channels(req):
            return None
        return None if "/" in program and os.path.exists(program) else warm

    def _spawn(self, process: Process, env: dict[str, str], wanted: list[MessageChannel]) -> None:
        channels = MessageChannels(wanted)
        try:
            pid = spawn(process, {**env, **channels.environment}, channels.theirs)
            process.started(pid)
            for relay in channels.relays():
                self.spawn(relay, f"message channel of {pid}")
        finally:
            channels.close()
        watch_exit(pid, process.exited)

    # -- called by the listeners

    def add(self, process: Process) -> None:
        """A process has started."""
        self._counts["started"] += 1
        self._by_pid[process.pid] = process

    def forget(self, process: Process) -> None:
        """A process is over, or could not be started."""
        self._counts["failed"] += not process.pid
        self._processes.discard(process)
        self._by_pid.pop(process.pid, None)
        if isinstance(process.listener, Foreground):
            self.released(process, process.listener)
        if not self._alive():
            self._idle.set()

    def released(self, process: Process, listener: Foreground) -> None:
        """A client has no more to do with a process."""
        self._by_client.pop((listener.sender, listener.matchtag), None)

    # -- the other methods

    @request("write", payload=WriteRequest)
    def write(self, msg: Message, req: WriteRequest) -> Any:
        process = self._by_client.get((msg.sender, req.matchtag))
        if process is None:
            return DEFERRED
        chunk = decode_io(req.io)
        try:
            process.write(chunk.stream, chunk.data, chunk.eof)
        except FluxError as exc:
            if isinstance(process.listener, Foreground):
                process.listener.overrun(process, exc)
        return DEFERRED

    @request("kill", payload=KillRequest)
    def kill(self, msg: Message, req: KillRequest) -> None:
        process = self._find(req.pid, req.label)
        if req.signum not in signal.valid_signals() and req.signum != 0:
            raise FluxError(errno.EINVAL, f"{req.signum} is no signal number")
        process.signal(req.signum)

    @request("credit", payload=CreditRequest)
    def credit(self, msg: Message, req: CreditRequest) -> Any:
        """The client has taken that much output (an extension of RFC 42, see ExecRequest.output_window)."""
        process = self._by_client.get((msg.sender, req.matchtag))
        if process is not None and isinstance(process.listener, Foreground):
            process.listener.taken(process, req.count)
        return DEFERRED

    @request("resume", streaming=True, payload=ResumeRequest)
    def resume(self, msg: Message, req: ResumeRequest) -> Any:
        """Go on with a resumable exec request of the same client or heir; ENOENT when it is none, or long over."""
        listener = self.resumables.find(req.heir or msg.sender, req.name)
        process = self._by_client.pop((listener.sender, listener.matchtag), None)
        if process is not None:
            self._by_client[msg.sender, msg.matchtag] = process
        listener.resume(msg, req.received, process)
        return DEFERRED

    @request("attach", streaming=True, payload=AttachRequest)
    def attach(self, msg: Message, req: AttachRequest) -> Any:
        try:
            process = self._find(req.pid, req.label)
        except FluxError as exc:
            raise FluxError(errno.ENOENT, str(exc)) from None
        listener = process.listener
        if not isinstance(listener, Background) or listener.waiter is not None:
            raise FluxError(errno.EBUSY, f"pid {process.pid} has a client already")
        self._by_client[msg.sender, msg.matchtag] = process
        process.listener = attached = Attached(self, msg, req.flags, listener)
        attached.begin(process)
        return DEFERRED

    @request("wait", payload=WaitRequest)
    def wait(self, msg: Message, req: WaitRequest) -> Any:
        process = self._find(req.pid, req.label)
        listener = process.listener
        if isinstance(listener, Attached):
            raise FluxError(errno.EBUSY, f"pid {process.pid} has a client attached to it")
        if not isinstance(listener, Background) or not listener.waitable:
            raise FluxError(errno.EINVAL, f"pid {process.pid} was not started with the waitable flag")
        if listener.waiter is not None:
            raise FluxError(errno.EINVAL, f"pid {process.pid} is being waited for already")
        listener.waiter = msg
        if process.complete:
            listener.answer(process, msg)
        return DEFERRED

    def _find(self, pid: int, label: str | None) -> Process:
        if label is not None:
            for process in self._processes:
                if process.label == label:
                    return process
            raise FluxError(errno.ESRCH, f"label {label} does not belong to any subprocess")
        if pid not in self._by_pid:
            raise FluxError(errno.ESRCH, f"pid {pid} does not belong to any subprocess")
        return self._by_pid[pid]

    @request("list")
    def list(self, _msg: Message) -> dict[str, Any]:
        return {"rank": self.rank, "procs": [_describe(process) for process in self._started()]}

    def _started(self) -> Iterable[Process]:
        return self._by_pid.values()

    def disconnected(self, sender: str) -> None:
        self.resumables.drop_sender(sender)
        for process in list(self._processes):
            if isinstance(process.listener, Foreground) and process.listener.sender == sender:
                process.listener.disconnected(process)


def _message_channels(req: ExecRequest) -> list[MessageChannel]:
    return [*req.cmd.msgchan, *req.cmd.msgchans]


def _describe(process: Process) -> dict[str, Any]:
    argv = process.command.cmdline
    name = f"flux {argv[1]}" if os.path.basename(argv[0]) == "flux" and len(argv) > 1 else argv[0]
    return {"pid": process.pid, "cmd": name, "label": process.label, "state": process.state()}
