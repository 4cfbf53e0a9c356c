"""Drives the broker's life cycle: joins the instance, waits for quorum, runs the initial program, shuts down.

Services: state-machine.get, wait, monitor, post, sd-notify. The states and events are those of stock Flux.
"""

from __future__ import annotations

import errno
import signal
import time
from functools import partial
from typing import Any

import msgspec

from flux.constants import FLUX_NODEID_UPSTREAM, FLUX_USERID_UNKNOWN
from flux.errors import FluxError
from flux.idset import IDset
from flux.message import FLAG_STREAMING, Message
from flux.module import DEFERRED, USER, Module, request
from flux_plugins.state_machine.environment import child_environment
from flux_plugins.state_machine.followers import Followers
from flux_plugins.state_machine.machine import EVENTS, Action, LifeCycle, State
from flux_plugins.state_machine.notify import Supervisor
from flux_plugins.state_machine.program import InitialProgram
from flux_plugins.state_machine.quorum import Quorum, exit_code, limit, name_hosts

__all__ = ["StateMachine"]


class MonitorRequest(msgspec.Struct):
    final: int = 11


class PostRequest(msgspec.Struct):
    event: str
    error: bool = False
    signum: int = 0


class NotifyRequest(msgspec.Struct):
    """status: a line for people; without one the supervisor is only asked for more time."""

    status: str | None = None


class StateMachine(Module):
    """The life cycle of this broker, and what clients may know of it."""

    name = "state-machine"
    stage = "boot"
    after = ("log", "attr", "groups", "config", "local", "overlay", "rexec", "rc")
    isolatable = False
    reloadable = False

    def __init__(self) -> None:
        self.life = LifeCycle()
        self._since = time.monotonic()
        self._followers = Followers(self)
        self._program: InitialProgram | None = None
        self._parent_monitor: Any = None
        self._stop_signal = 0
        self._parent_runs = False
        self._online = IDset()
        self._cleaning = False
        self._initialized = False

    def start(self) -> None:
        attrs = self.broker.attrs
        self._quorum = Quorum.parse(attrs.get("broker.quorum"), self.size)
        self._quorum_warn = limit(attrs, "broker.quorum-warn", "60s")
        self._quorum_timeout = limit(attrs, "broker.quorum-timeout", "none")
        self._shutdown_warn = limit(attrs, "broker.shutdown-warn", "60s")
        self._shutdown_timeout = limit(attrs, "broker.shutdown-timeout", "none")
        self._cleanup_timeout = limit(attrs, "broker.cleanup-timeout", "none")
        self.life.norestart = exit_code(attrs, "broker.exit-norestart")
        exit_code(attrs, "broker.exit-restart")
        wanted = attrs.get("broker.sd-notify", "0") not in ("", "0")
        stop_timeout = limit(attrs, "broker.sd-stop-timeout", "none")
        self._supervisor = Supervisor.of_environment(wanted, stop_timeout)
        self.flux.call_soon(lambda: self.post("builtins-success"))

    # -- events and actions

    def post(self, event: str, exit_code: int = 0) -> None:
        """Take an event; what it calls for is started at once."""
        before, now = self.life.state, time.monotonic()
        action = self.life.step(event, exit_code)
        if self.life.state is before:
            return
        self.log.info(f"{event}: {before.label}->{self.life.state.label} {now - self._since:.4f}s")
        self._since = now
        self._initialized |= self.life.state is State.QUORUM
        self._followers.tell(self.life.state)
        self._tell_supervisor()
        if action is not None:
            self.spawn(self._perform(action), action.name.lower())

    def _tell_supervisor(self) -> None:
        state = self.life.state
        self._supervisor.stopping = state >= State.CLEANUP
        try:
            if state is State.JOIN:
                self._supervisor.ready()
            self._supervisor.status(self._progress(state))
        except OSError as exc:
            self.log.warning(f"the supervisor at NOTIFY_SOCKET is not told of state {state.label}: {exc.strerror}")

    def _progress(self, state: State) -> str:
        """The state for people, as `systemctl status` shows it."""
        if state is State.JOIN and self.rank > 0:
            return f"Joining through {self.broker.attrs.get('tbon.parent-endpoint', 'the parent broker')}"
        if state is State.RUN:
            return f"Running as {'leader' if self.rank == 0 else 'member'} of an instance of {self.size}"
        return _PROGRESS.get(state, "")

    async def _perform(self, action: Action) -> None:
        try:
            await getattr(self, "_" + action.name.lower())()
        except FluxError as exc:
            self.log.error(f"{action.name.lower()}: {exc}")
            self.post(_FAILED.get(action, "panic"))

    # -- what each state does; names are those of `Action`

    async def _await_parent(self) -> None:
        if self.rank == 0:
            self.post("parent-none")
            return
        self._watch_parent()

    def _watch_parent(self) -> None:
        self._parent_monitor = self.flux.rpc(
            "state-machine.monitor", {"final": int(State.SHUTDOWN)}, FLUX_NODEID_UPSTREAM, FLAG_STREAMING
        )
        self._parent_monitor.then(self._parent_state)

    def _parent_state(self, monitor: Any) -> None:
        try:
            state = monitor.get()["state"]
        except OSError as exc:
            if exc.errno == errno.EHOSTUNREACH:
                # the overlay looks for another parent, and says so when there is none
                self._watch_parent()
            elif exc.errno != errno.ENODATA:
                self.log.error(f"lost parent: {exc}")
                self.post("parent-fail")
            return
        monitor.reset()
        if state in (State.QUORUM, State.RUN) and self.life.state is State.JOIN:
            self.post("parent-ready")
        if state == State.RUN and self.life.state is State.QUORUM:
            self.post("quorum-full")
        self._parent_runs = state == State.RUN
        if state >= State.SHUTDOWN:
            self.post("shutdown")

    async def _sync_config(self) -> None:
        if self.rank > 0:
            await self.flux.rpc("config.follow", nodeid=self.rank)
        self.post("sync-none" if self.rank == 0 else "sync-success")

    async def _start_services(self) -> None:
        """What stock Flux does in its rc1 script; a command at broker.rc1_path replaces all of it."""
        recovery = self.broker.attrs.get("broker.recovery-mode") is not None
        try:
            if self.broker.attrs.get("broker.rc1_path") is None:
                await self.broker.start_services()
            code = await self._run_stage("rc1")
        except FluxError as exc:
            if not recovery:
                raise
            self.log.error(f"start_services: {exc}: going on in recovery mode")
            code = 1
        if code:
            self.post("rc1-ignorefail" if recovery else "rc1-fail", code)
        else:
            self.post("rc1-success")

    async def _run_stage(self, stage: str) -> int:
        """Run the hooks, scripts and commands of a stage; gives an exit code, 0 where nobody offers that."""
        try:
            code: int = (await self.flux.rpc("rc.run", {"stage": stage}, self.rank))["exit_code"]
        except FluxError as exc:
            if exc.errno != errno.ENOSYS:
                raise
            return 0
        return code

    async def _await_quorum(self) -> None:
        await self.flux.rpc("groups.join", {"name": "broker.online"}, nodeid=self.rank)
        if self.rank > 0:
            if self._parent_runs:
                self.post("quorum-full")
            return
        online = self.flux.rpc("groups.get", {"name": "broker.online"}, self.rank, FLAG_STREAMING)
        timers = [
            self.flux.call_later(seconds, report)
            for seconds, report in ((self._quorum_warn, self._quorum_late), (self._quorum_timeout, self._quorum_failed))
            if seconds is not None
        ]
        try:
            async for answer in online:
                self._online = IDset(answer["members"])
                if self._quorum.is_met(self._online):
                    online.cancel("groups.cancel")
                    break
        finally:
            for timer in timers:
                timer.cancel()
        self.post("quorum-full")

    def _missing(self) -> str:
        return name_hosts(self._quorum.missing(self._online), self.broker.attrs.get("hostlist"))

    def _quorum_late(self) -> None:
        if self.life.state is State.QUORUM:
            self.log.error(f"quorum delayed: waiting for {self._missing()}")

    def _quorum_failed(self) -> None:
        if self.life.state is State.QUORUM:
            self.log.error(f"no quorum within {self._quorum_timeout:g} s: giving up without {self._missing()}")
            self.post("quorum-fail")

    async def _run_program(self) -> None:
        if self.rank > 0 or self.broker.attrs.get("broker.rc2_none") is not None:
            return
        environ = child_environment(self.broker.attrs["local-uri"])
        try:
            self._program = InitialProgram(self.broker.initial_program, environ, self._program_ended)
        except OSError as exc:
            command = (self.broker.initial_program or ["shell"])[0]
            self.log.error(f"initial program {command}: {exc.strerror}")
            self.post("rc2-fail", 126 if exc.errno == errno.EACCES else 127)

    def _program_ended(self, code: int) -> None:
        self.post("rc2-fail" if code else "rc2-success", code)

    async def _clean_up(self) -> None:
        await self._end_program()
        code = 0
        if self.rank == 0:
            self._cleaning = True
            self._expedite()
            code = await self._run_stage("cleanup")
            self._cleaning = False
        self.post("cleanup-fail" if code else "cleanup-success", code)

    def _expedite(self) -> None:
        """A signal asks for the end: clean up no longer than broker.cleanup-timeout from now on."""
        if self._stop_signal and self._cleaning and self._cleanup_timeout is not None:
            abort = partial(self.flux.notify, "rc.abort", {"stage": "cleanup"}, self.rank)
            self.flux.call_later(self._cleanup_timeout, abort)

    async def _end_program(self) -> None:
        """The initial program goes before its instance does."""
        program = self._program
        if program is None or program.process.returncode is not None:
            return
        hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN  # else the program has inherited that
        program.signal(self._stop_signal or (signal.SIGHUP if hangs_up else signal.SIGTERM))
        program.signal(signal.SIGCONT)
        kill = self.flux.call_later(_PROGRAM_GRACE, lambda: program.signal(signal.SIGKILL))
        await program.ended.wait()
        kill.cancel()

    async def _await_children(self) -> None:
        await self._end_program()
        warn, timeout = self._shutdown_warn, self._shutdown_timeout
        late = await self._children_within(timeout if warn is None or (timeout or warn) < warn else warn)
        if late and warn is not None and (timeout is None or timeout > warn):
            self.log.error(f"shutdown delayed: {late}")
            late = await self._children_within(None if timeout is None else timeout - warn)
        if late:
            self.log.error(f"shutdown goes on without downstream brokers: {late}")
        self.post("children-complete")

    async def _children_within(self, seconds: float | None) -> str:
        """Wait for the downstream brokers to leave; gives what is wrong when they have not."""
        try:
            await self.flux.rpc("overlay.wait-children", {"timeout": seconds}, nodeid=self.rank)
        except FluxError as exc:
            return "" if exc.errno == errno.ENOSYS else str(exc)
        return ""

    async def _stop_services(self) -> None:
        code = await self._run_stage("rc3") if self._initialized else 0
        await self.broker.stop_services()
        self.post("rc3-fail" if code else "rc3-success", code)

    async def _say_goodbye(self) -> None:
        if self._parent_monitor is not None:
            self._parent_monitor.cancel()
        self.post("goodbye")

    async def _unload(self) -> None:
        self.post("builtins-done")

    async def _exit(self) -> None:
        self.broker.exit(self.life.exit_code)

    # -- services

    @request("get", allow=USER)
    def get(self, _msg: Message) -> dict[str, Any]:
        return {"state": self.life.state.label, "duration": time.monotonic() - self._since}

    @request("wait", allow=USER)
    def wait(self, msg: Message) -> Any:
        self._followers.wait(msg, self.life.state)
        return DEFERRED

    @request("monitor", streaming="optional", payload=MonitorRequest)
    def monitor(self, msg: Message, req: MonitorRequest) -> Any:
        if not msg.is_streaming:
            return {"state": int(self.life.state)}
        self._followers.follow(msg, self.life.state, req.final)
        return DEFERRED

    @request("post", payload=PostRequest)
    def post_event(self, _msg: Message, req: PostRequest) -> Any:
        if req.event not in EVENTS:
            raise FluxError(errno.EINVAL, f"unknown event {req.event!r}: it is one of {', '.join(sorted(EVENTS))}")
        if req.signum in _PASSED_ON:
            self._pass_on(req.signum)
            return DEFERRED
        self._stop_signal = req.signum
        self._expedite()
        if req.event == "shutdown" and not req.signum and self.life.state is State.RUN:
            self.life.stay_down()
        self.post(req.event, self._signal_code(req.signum) if req.signum else int(req.error))
        return DEFERRED

    def _pass_on(self, signum: int) -> None:
        """A signal that says something to the initial program and to jobs, not to their instance."""
        if self.rank == 0:
            if self._program is not None:
                self._program.signal(signum)
            everyone = {"dry_run": False, "userid": FLUX_USERID_UNKNOWN, "signum": signum}
            self.flux.notify("job-manager.killall", everyone, self.rank)

    def _signal_code(self, signum: int) -> int:
        """A signal is what an instance without initial program is ended by: no failure."""
        return 0 if self.broker.attrs.get("broker.rc2_none") is not None else 128 + signum

    @request("sd-notify", payload=NotifyRequest)
    def sd_notify(self, _msg: Message, req: NotifyRequest) -> Any:
        """Progress of something long, such as a dump, for the supervisor."""
        self._supervisor.status(req.status)
        return DEFERRED

    def disconnected(self, sender: str) -> None:
        self._followers.drop(sender)

    def stop(self) -> None:
        self._followers.end()


_PROGRAM_GRACE = 5.0  # seconds
_PASSED_ON = (signal.SIGUSR1, signal.SIGUSR2)
_PROGRESS = {
    State.CONFIG_SYNC: "Fetching the configuration",
    State.INIT: "Starting services",
    State.QUORUM: "Waiting for quorum",
    State.CLEANUP: "Cleaning up",
    State.SHUTDOWN: "Waiting for downstream brokers to stop",
    State.FINALIZE: "Stopping services",
    State.EXIT: "Exiting",
}
_FAILED = {
    Action.AWAIT_PARENT: "parent-fail",
    Action.SYNC_CONFIG: "sync-fail",
    Action.START_SERVICES: "rc1-fail",
    Action.AWAIT_QUORUM: "quorum-fail",
    Action.STOP_SERVICES: "rc3-fail",
}
