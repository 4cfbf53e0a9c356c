"""What a shell is made of: its handle, reactor and plugin stack, its log, and what errors do."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from flux.core.handle import Flux
from flux.core.reactor import Reactor
from flux.core.steady import SteadyRPC
from flux.errors import FluxError
from flux.hooks.host import ErrorPolicy, HookFailure, PluginHost, explain
from flux.job import fluid
from flux.kvs.patient import PatientCommit
from flux.rpc import RPC
from flux_shell.job import Job
from flux_shell.journal import FIRST_HOLD, Journal
from flux_shell.sure_commit import SureCommit
from flux_shell.task import Task

__all__ = ["LOG_DEBUG", "LOG_ERR", "LOG_WARNING", "Options", "ShellCore", "ShellFatal", "Terminated"]

LOG_EMERG, LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_DEBUG = 0, 3, 4, 5, 6
_LEVELS = {0: "FATAL", 1: "FATAL", 2: "FATAL", 3: "ERROR", 4: "WARN", 6: "DEBUG", 7: "TRACE"}
KILL_TIMEOUT = 5.0
"""Seconds that tasks have between SIGTERM and SIGKILL when their shell has lost its broker."""
MOST_LATE_ERRORS = 16
"""Errors of callbacks that a shell goes on from at its end: one that comes in each turn shall not keep it for ever."""


class Options(NamedTuple):
    """What the command line says."""

    standalone: bool = False
    initrc: str = ""
    verbose: int = 0
    reconnect: bool = False


class ShellFatal(BaseException):
    """The job cannot go on. status: exit code of the shell. No Exception: who goes on after those cannot after this."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


class Terminated(BaseException):
    """A signal arrived before there was a task to pass it on to. No Exception: see `ShellFatal`."""


class ShellCore:
    """State of a shell, and what all of its parts use.

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
        self.verbose = max(options.verbose, job.verbosity)
        self.env = self._environment(jobid_path)
        self.nofile: int | None = None
        """Soft limit of open files of what is started; None for the shell's own, which has to do for all tasks."""
        self.tasks: list[Task] = []
        self.status = 0
        self._fatal_status: int | None = None
        self.current_task: Task | None = None
        self.service = f"{os.getuid()}-shell-{fluid.encode(job.id, 'f58plain')}"
        commit = SureCommit if options.reconnect else PatientCommit
        hold = FIRST_HOLD if self.size == 1 else 0.0  # several shells post their first event before they meet
        self.journal = None if flux is None else Journal(flux, f"job-{job.id}", commit, hold)
        self._reconnects = 0
        self._barriers = 0
        self._running = 0
        self._lost = False
        self._ending = False
        self._late_errors = 0
        self.logs_by_plugin = False
        """True once plugins are initialised; what is logged before waits for that."""
        self._early_log: list[tuple[int, str, str]] = []
        self._is_logging = False
        self.topics: dict[str, list[tuple[str, Callable[[str], None]]]] = {}
        """Plugin name to its (glob of topics, function): for topics that have no specification."""
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
            except Exception as exc:  # of a plugin's callback
                self._late_errors += 1
                if not self._ending or self._late_errors > MOST_LATE_ERRORS:
                    raise
                self.log(LOG_ERR, explain(exc, always_placed=True))
            if self.flux is not None and not self._lost:
                self._check_connection()

    def _check_connection(self) -> None:
        if self.cli.reconnect:
            if self.flux.reconnects != self._reconnects:
                self._reconnected()
        elif self.flux.session.error is not None:
            self._lose()

    def _reconnected(self) -> None:
        self._reconnects = self.flux.reconnects
        self.flux.notify("event.subscribe", {"topic": f"shell-{self.jobid}."})
        self.log(LOG_NOTICE, "the connection to the broker was lost, and is there again")
        self.call("shell.reconnect", shell=self)

    def _flush(self) -> None:
        """Commit what was gathered, unless the broker is gone, for now or for good."""
        if self.journal is not None and self.flux.session.error is None:
            self.journal.flush()

    def _lose(self) -> None:
        """The broker is gone, and with it whoever could end the tasks: end them."""
        self._lost = True
        sys.stderr.write(f"flux-shell[{self.rank}]: ERROR: lost connection to the broker: {self.flux.session.error}\n")
        self.status = max(self.status, 1)
        self.kill_tasks(signal.SIGTERM)
        self.reactor.call_later(KILL_TIMEOUT, lambda: self.kill_tasks(signal.SIGKILL))

    # -- errors and log

    def raise_exception(self, type: str, severity: int, note: str) -> None:
        if self.flux is None:
            self.log(LOG_ERR, f"{type}: {note}")
        else:
            self._send_exception({"type": type, "severity": severity, "note": note})

    def raise_exit_status(self, wait_status: int, note: str) -> None:
        if self.flux is None:
            self.log(LOG_ERR, note)
        else:
            self._send_exception({"type": "exec", "severity": 0, "note": note, "wait_status": wait_status})

    def steady_rpc(self, send: Callable[[], RPC]) -> SteadyRPC:
        """A request that is sent again when what is on its way is lost, with --reconnect also this connection."""
        return SteadyRPC(self.flux, send, reconnects=self.cli.reconnect)

    def die(self, message: str, status: int = 1) -> None:
        if self._ending:
            self.log(LOG_ERR, message)
        else:
            raise ShellFatal(message, status)

    def _fatal(self, message: str, status: int) -> None:
        self._fatal_status = status
        self._ending = True
        self.release_log()
        self.log(LOG_EMERG, message)
        if self.flux is not None and not self._lost:
            self.raise_exit_status(status << 8, message)

    def _send_exception(self, exception: dict[str, Any]) -> None:
        """Raise an exception on the job; its wait_status makes the job's status this one (RFC 32)."""
        request = {"id": self.jobid, **exception}
        raised = self.steady_rpc(lambda: self.flux.rpc("job-manager.raise", request))
        self.run_until(raised.is_ready)
        try:
            raised.get()
        except FluxError as exc:
            if exc.errno != errno.ENOENT:  # the job is over already
                sys.stderr.write(f"flux-shell[{self.rank}]: ERROR: raising a job exception: {exc}\n")

    def log(self, level: int, message: str, component: str = "") -> None:
        if level > LOG_NOTICE + self.verbose or self._is_logging:
            return
        if not (self.standalone or self.logs_by_plugin or self._ending):
            self._early_log.append((level, message, component))
            return
        if self.standalone or not self.logs_by_plugin or not self.stack.has("shell_log"):
            parts = [part for part in (f"flux-shell[{self.rank}]", _LEVELS.get(level), component, message) if part]
            sys.stderr.write(": ".join(parts) + "\n")
        if self.logs_by_plugin:
            self._is_logging = True
            try:
                self.call("shell.log", shell=self, level=level, message=message, component=component)
            finally:
                self._is_logging = False

    def release_log(self) -> None:
        """Log what waited for plugins to be initialised, or was not to see that."""
        early, self._early_log = self._early_log, []
        for level, message, component in early:
            self.log(level, message, component)

    def log_setlevel(self, level: int, dest: str = "any") -> None:
        self.verbose = max(0, level)
        self.call("shell.log-setlevel", shell=self, level=level, dest=dest)

    def _hook_failed(self, failure: HookFailure) -> None:
        if self.verbose > 1:
            traceback.print_exception(failure.error)
        if failure.policy is ErrorPolicy.FATAL and not self._ending:
            raise ShellFatal(str(failure)) from failure.error
        if failure.hook == "shell_log":
            sys.stderr.write(f"flux-shell[{self.rank}]: ERROR: {failure}\n")
        else:
            self.log(LOG_ERR, str(failure))

    # -- what plugins call besides

    def call(self, topic: str, **kwargs: Any) -> list[Any]:
        hook = topic.replace(".", "_").replace("-", "_")
        results = self.stack.call(hook, **kwargs)
        if self.topics and hook not in self.stack.specs:
            self._call_subscribers(topic)
        return results

    def _call_subscribers(self, topic: str) -> None:
        """Call those who took a topic that only plugins know, by a pattern."""
        for name, subscriptions in list(self.topics.items()):
            for pattern, function in subscriptions:
                if not fnmatchcase(topic, pattern):
                    continue
                try:
                    function(topic)
                except ValueError as exc:
                    self.log(LOG_ERR, f"{name}: {topic}: {exc}")

    def call_task(self, topic: str, task: Task) -> None:
        """Call a task hook; `current_task` is that task meanwhile."""
        self.current_task = task
        try:
            self.call(topic, shell=self, task=task)
        finally:
            self.current_task = None

    def kill_tasks(self, signum: int) -> None:
        """Signal all tasks; 0 and below are no signal (flux_shell_killall(3)). FluxError EINVAL: an unknown one."""
        if signum <= 0:
            return
        for task in self.tasks:
            task.kill(signum)
