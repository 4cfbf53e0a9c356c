"""The life of a job shell, from its job to its exit code (flux-shell(1), OPERATION)."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from flux.core.handle import Flux
from flux.core.reactor import FLUX_POLLIN, Reactor
from flux.core.steady import SteadyRPC
from flux.errors import FluxError
from flux.hooks.host import ErrorPolicy, HookFailure, PluginHost
from flux.job import fluid
from flux.rpc import RPC
from flux_shell.initrc import find_initrc
from flux_shell.job import Job, JobError
from flux_shell.journal import Journal
from flux_shell.mail import Outbox
from flux_shell.mustache import render
from flux_shell.service import Service
from flux_shell.signals import SignalPipe
from flux_shell.task import LaunchError, Task

__all__ = ["Options", "Shell", "ShellFatal"]

LOG_EMERG, LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG = 0, 3, 4, 6, 7
_LEVELS = {0: "FATAL", 1: "FATAL", 2: "FATAL", 3: "ERROR", 4: "WARN", 5: "NOTICE", 6: "INFO", 7: "DEBUG"}
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
_ENDING = (*_FORWARDED, signal.SIGKILL)
KILL_TIMEOUT = 5.0
"""Seconds that tasks have between SIGTERM and SIGKILL when their shell has lost its broker."""


class Options(NamedTuple):
    """What the command line says."""

    standalone: bool = False
    initrc: str = ""
    verbose: int = 0


class ShellFatal(Exception):
    """The job cannot go on. status: exit code of the shell."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


class _Terminated(Exception):
    """A signal arrived before there was a task to pass it on to."""


class Shell:
    """One shell of a job (contract for plugins: `flux.hooks.shell.ShellApi`).

    Args:
        job: what is to be run. stack: its plugins. flux: handle; None when standalone.
        broker_rank: of the broker this shell was started by.
        jobid_path: job ids of the enclosing instances, as in FLUX_JOB_ID_PATH.
    """

    def __init__(
        self,
        job: Job,
        stack: PluginHost,
        flux: Flux | None,
        options: Options,
        broker_rank: int = 0,
        jobid_path: str = "",
    ) -> None:
        self.job = job
        self.jobid = job.id
        self.stack = stack
        self.cli = options
        self.flux: Any = flux
        self.standalone = flux is None
        self.reactor: Reactor = Reactor() if flux is None else flux.get_reactor()
        self.rank = 0 if self.standalone else job.rank_of(broker_rank)
        self.size = len(job.nodes)
        self.options = job.options
        self.verbose = max(options.verbose, int(job.options.get("verbose") or 0))
        self.env = self._environment(jobid_path)
        self.tasks: list[Task] = []
        self.status = 0
        self._fatal_status: int | None = None
        self.current_task: Task | None = None
        self.service = f"{os.getuid()}-shell-{fluid.encode(job.id, 'f58plain')}"
        self.journal = None if flux is None else Journal(flux, f"job-{job.id}")
        self._service = None if flux is None else Service(flux, self.service, f"shell-{job.id}.")
        self._outbox = None if flux is None else Outbox(flux, self.rank, self.rpc)
        self._barriers = 0
        self._refs: dict[str, int] = {}
        self._running = 0
        self._watched: set[Task] = set()
        self._lost = False
        self._ending = False
        self._held: list[tuple[str, dict[str, Any]]] | None = []
        self._init_context: dict[str, Any] = {}
        stack.on_error = self._hook_failed

    def _environment(self, jobid_path: str) -> dict[str, str]:
        asked = self.job.env
        env = dict(os.environ) if asked is None else {k: v for k, v in asked.items() if v is not None}
        for name in ("FLUX_URI", "FLUX_KVS_NAMESPACE"):
            if name in os.environ:
                env[name] = os.environ[name]
        f58 = fluid.encode(self.job.id, "f58")
        env["FLUX_JOB_ID"] = f58
        env["FLUX_JOB_ID_PATH"] = jobid_path.rstrip("/") + "/" + f58
        env["FLUX_JOB_SIZE"] = str(self.job.ntasks)
        env["FLUX_JOB_NNODES"] = str(self.size)
        return env

    # -- life

    def run(self) -> int:
        """Run the job's tasks of this shell to their end; gives the exit code."""
        signals = SignalPipe(self.reactor, _FORWARDED, self.deliver_signal)
        try:
            self._live()
        except ShellFatal as exc:
            self._fatal(str(exc), exc.status)
        except _Terminated as exc:
            self.status = 128 + exc.args[0]
        except Exception as exc:
            traceback.print_exc()
            self._fatal(f"{type(exc).__name__}: {exc}", 1)
        finally:
            self._end()
            signals.close()
        return self.status if self._fatal_status is None else self._fatal_status

    def _live(self) -> None:
        if not self.standalone:
            self.call("shell.connect", shell=self)
        self.load_initrc()
        self._check_options()
        self._apply_taskmap()
        self.call("shell.init", shell=self)
        self._change_directory()
        self._barrier()
        self._post("shell.init", self._init_event())
        self.call("shell.post-init", shell=self)
        self._start_tasks()
        self.call("shell.start", shell=self)
        self._barrier()
        self._post("shell.start", {"taskmap": self.job.taskmap.wrap()})
        self._release_events()
        for task in self.tasks:
            self._watch(task)
        self.run_until(lambda: not self._running)
        self.call("shell.finish", shell=self)
        self.run_until(self._idle)

    def _init_event(self) -> dict[str, Any]:
        leader = self.job.nodes[0].rank
        return {"service": self.service, "leader-rank": leader, "size": self.size, **self._init_context}

    def _idle(self) -> bool:
        journal, outbox = self.journal, self._outbox
        return not self._refs and (journal is None or journal.idle) and (outbox is None or outbox.idle)

    def _end(self) -> None:
        """End what still runs and give everything back; errors are only logged from here on."""
        self._ending = True
        self._release_events()
        self.kill_tasks(signal.SIGKILL)
        for task in self.tasks:
            if task.state == "Running" and task not in self._watched:
                self._watch(task)
        self.run_until(lambda: not self._running)
        self.call("shell.exit", shell=self)
        self.run_until(lambda: self.journal is None or self.journal.idle)

    def load_initrc(self) -> None:
        """Run the Lua initrc that the options name, or the site's."""
        path = find_initrc(self.cli.initrc or str(self.options.get("initrc") or ""), self.standalone)
        if not path:
            return
        from flux_shell.lua import run_initrc

        try:
            run_initrc(self, path)
        except (ValueError, OSError) as exc:
            raise ShellFatal(f"initrc: {exc}") from None

    def _check_options(self) -> None:
        self.verbose = max(self.verbose, int(self.options.get("verbose") or 0))

    def _apply_taskmap(self) -> None:
        asked = self.options.get("taskmap")
        if not asked:
            return
        if not isinstance(asked, dict) or "scheme" not in asked:
            raise ShellFatal(f"shell option taskmap needs a scheme: {asked!r}")
        scheme, value = str(asked["scheme"]), str(asked.get("value", ""))
        found = self.call("shell.taskmap", shell=self, scheme=scheme, value=value, counts=self.job.counts)
        if not found:
            raise ShellFatal(f"no shell plugin knows the taskmap scheme {scheme!r}")
        try:
            self.job.remap(found[0])
        except JobError as exc:
            raise ShellFatal(str(exc)) from None

    def _change_directory(self) -> None:
        if not self.job.cwd:
            return
        try:
            os.chdir(self.job.cwd)
        except OSError as exc:
            self.log(LOG_WARNING, f"could not change directory to {self.job.cwd}: {exc.strerror}; using /tmp instead")
            os.chdir("/tmp")
        self.env["PWD"] = os.getcwd()

    def _barrier(self) -> None:
        """Wait for the other shells of the job."""
        if self.size == 1 or self.flux is None:
            return
        self._flush()
        request = {"id": self.jobid, "rank": self.job.nodes[self.rank].rank, "round": self._barriers}
        self._barriers += 1
        entered = SteadyRPC(self.flux, lambda: self.flux.rpc("job-exec.shell-barrier", request))
        self.run_until(entered.is_ready)
        try:
            entered.get()
        except FluxError as exc:
            raise ShellFatal(f"shell barrier: {exc}") from None

    # -- tasks

    def _start_tasks(self) -> None:
        own_group = not self.options.get("nosetpgrp")
        for localid, rank in enumerate(self.job.task_ranks(self.rank)):
            task = Task(rank, localid, list(self.job.command), dict(self.env))
            task.env["FLUX_TASK_RANK"] = str(rank)
            task.env["FLUX_TASK_LOCAL_ID"] = str(localid)
            task.argv = [render(arg, self, task) for arg in task.argv]
            self.tasks.append(task)
            self.call_task("task.init", task)
            self._start(task, own_group)
            self.call_task("task.fork", task)

    def _start(self, task: Task, own_group: bool) -> None:
        before_exec = None
        if self.stack.has("task_exec"):
            before_exec = lambda: self.call_task("task.exec", task)  # noqa: E731
        try:
            task.start(before_exec, own_group)
        except LaunchError as exc:
            text = f"task {task.rank}: start failed: {task.argv[0]}: {exc.strerror}"
            raise ShellFatal(text, exc.exitcode) from None
        self._running += 1

    def _watch(self, task: Task) -> None:
        """Take notice of a task's end; from shell.start on, so that no task's end is posted before it."""
        self._watched.add(task)
        pidfd = os.pidfd_open(task.pid)
        self.reactor.add_fd(pidfd, FLUX_POLLIN, lambda _events: self._ended(task, pidfd))

    def _ended(self, task: Task, pidfd: int) -> None:
        self.reactor.remove_fd(pidfd)
        os.close(pidfd)
        self._collect(task, os.waitpid(task.pid, 0)[1])

    def _collect(self, task: Task, status: int) -> None:
        task.exited(status)
        self._running -= 1
        self.status = max(self.status, task.exitcode)
        self.call_task("task.exit", task)

    def kill_tasks(self, signum: int) -> None:
        for task in self.tasks:
            task.kill(signum)

    def deliver_signal(self, signum: int) -> None:
        """Signal the tasks; before there are any, the shell ends as if the signal were its own."""
        if not self._running and not self._ending:
            raise _Terminated(signum)
        if self._outbox is not None and signum in _ENDING:
            self._outbox.patient = False
        self.kill_tasks(signum)

    # -- the reactor

    def run_until(self, done: Callable[[], bool]) -> None:
        """Serve tasks, requests and timers until done() is true, or the broker is lost and all tasks have ended."""
        while not done() and not (self._lost and not self._running):
            self._flush()
            try:
                self.reactor.run_once()
            except FluxError:
                if self.flux is None or self.flux.session.error is None:
                    raise
            if self.flux is not None and self.flux.session.error is not None and not self._lost:
                self._lose()

    def _flush(self) -> None:
        if self.journal is not None and not self._lost:
            self.journal.flush()

    def _lose(self) -> None:
        """The broker is gone, and with it whoever could end the tasks: end them."""
        self._lost = True
        sys.stderr.write(f"flux-shell[{self.rank}]: ERROR: lost connection to the broker: {self.flux.session.error}\n")
        self.status = max(self.status, 1)
        self.kill_tasks(signal.SIGTERM)
        self.reactor.call_later(KILL_TIMEOUT, lambda: self.kill_tasks(signal.SIGKILL))

    # -- errors and log

    def die(self, message: str, status: int = 1) -> None:
        if self._ending:
            self.log(LOG_ERR, message)
        else:
            raise ShellFatal(message, status)

    def _fatal(self, message: str, status: int) -> None:
        self._fatal_status = status
        self._ending = True
        self.log(LOG_EMERG, message)
        if self.flux is not None and not self._lost:
            self._raise(message, status)

    def _raise(self, note: str, status: int) -> None:
        """Raise a fatal exception on the job; its wait_status makes the job's status this one (RFC 32)."""
        request = {"id": self.jobid, "type": "exec", "severity": 0, "note": note, "wait_status": status << 8}
        raised = SteadyRPC(self.flux, lambda: self.flux.rpc("job-manager.raise", request))
        self.run_until(raised.is_ready)
        try:
            raised.get()
        except FluxError as exc:
            if exc.errno != errno.ENOENT:  # the job is over already
                sys.stderr.write(f"flux-shell[{self.rank}]: ERROR: raising a job exception: {exc}\n")

    def log(self, level: int, message: str, component: str = "") -> None:
        if level >= LOG_DEBUG and not self.verbose:
            return
        if self.standalone or not self.stack.has("shell_log"):
            where = f"{component}: " if component else ""
            sys.stderr.write(f"flux-shell[{self.rank}]: {_LEVELS[level]}: {where}{message}\n")
        self.call("shell.log", shell=self, level=level, message=message, component=component)

    def _hook_failed(self, failure: HookFailure) -> None:
        if isinstance(failure.error, (ShellFatal, _Terminated)) and not self._ending:
            raise failure.error
        if failure.policy is ErrorPolicy.FATAL and not self._ending:
            raise ShellFatal(str(failure)) from failure.error
        if failure.hook == "shell_log":
            sys.stderr.write(f"flux-shell[{self.rank}]: ERROR: {failure}\n")
        else:
            self.log(LOG_ERR, str(failure))

    # -- what plugins call besides

    def call(self, topic: str, **kwargs: Any) -> list[Any]:
        return self.stack.call(topic.replace(".", "_").replace("-", "_"), **kwargs)

    def call_task(self, topic: str, task: Task) -> None:
        """Call a task hook; `current_task` is that task meanwhile."""
        self.current_task = task
        try:
            self.call(topic, shell=self, task=task)
        finally:
            self.current_task = None

    def _post(self, name: str, context: dict[str, Any]) -> None:
        if self.rank == 0:
            self._append_event(name, context)

    def post_event(self, name: str, context: dict[str, Any]) -> None:
        if self._held is None:
            self._append_event(name, context)
        else:
            self._held.append((name, context))

    def _append_event(self, name: str, context: dict[str, Any]) -> None:
        if self.journal is not None:
            self.journal.append("exec.eventlog", name, context)

    def _release_events(self) -> None:
        """shell.start is posted: now come the events that plugins and other shells had before it."""
        held, self._held = self._held or [], None
        for name, context in held:
            self._append_event(name, context)

    def add_event_context(self, name: str, context: dict[str, Any]) -> None:
        """Add to the context of an event still to come; only shell.init takes more."""
        if name != "shell.init":
            raise FluxError(errno.EINVAL, f"no context can be added to the event {name}, only to shell.init")
        self._init_context.update(context)

    def on_request(self, method: str, callback: Callable[[Any], Any]) -> None:
        if self._service is not None:
            self._service.on_request(method, callback)

    def on_event(self, name: str, callback: Callable[[Any], Any]) -> None:
        if self._service is not None:
            self._service.on_event(name, callback)

    def send(self, shell_rank: int, method: str, payload: dict[str, Any]) -> None:
        self._need_others()
        assert self._outbox is not None
        self._outbox.send(shell_rank, method, payload)

    def rpc(self, shell_rank: int, method: str, payload: dict[str, Any]) -> RPC:
        self._need_others()
        return RPC(self.flux, f"{self.service}.{method}", payload, self.job.nodes[shell_rank].rank)

    def _need_others(self) -> None:
        if self.flux is None:
            raise FluxError(errno.ENOTCONN, "a standalone shell has no other shells")

    def others(self) -> Iterator[int]:
        """Ranks of the other shells."""
        return (rank for rank in range(self.size) if rank != self.rank)

    def add_completion_ref(self, name: str) -> None:
        self._refs[name] = self._refs.get(name, 0) + 1

    def remove_completion_ref(self, name: str) -> None:
        if name not in self._refs:
            raise FluxError(errno.ENOENT, f"no completion reference is named {name!r}")
        self._refs[name] -= 1
        if not self._refs[name]:
            del self._refs[name]
