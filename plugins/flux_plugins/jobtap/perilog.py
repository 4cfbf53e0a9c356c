"""`perilog`: commands around a job, run by the job manager (flux-config-job-manager(5), PLUGIN SPECIFIC KEYS).

The prolog runs when a job has its resources and before its shells start; the epilog once they have ended, or after a
prolog that failed. Each on rank 0, or on every rank of the job. Both delay the job: it starts after prolog-finish, and
gives its resources back after epilog-finish. Nodes on which one fails or hangs are drained.
"""

from __future__ import annotations

import errno
import os
import re
import signal
from collections.abc import Mapping
from typing import Any

from flux.bulkexec import BulkExec
from flux.errors import FluxError
from flux.hooks.jobtap import Event, Job, Manager, hookimpl
from flux.idset import IDset
from flux.job.fluid import encode
from flux.message import FLAG_STREAMING
from flux.resource import ResourceSet
from flux_plugins.jobtap.perilog_config import PerilogConfig, Procedure, read_config

CLEANUP = 6
"""The broker's state in which jobs are canceled (state-machine.monitor)."""


class Perilog:
    """The policy: what of each job runs now."""

    def __init__(self) -> None:
        self._manager: Manager
        self._config = PerilogConfig()
        self._running: dict[int, Run] = {}
        self._is_ending = False
        self._states: Any = None

    @hookimpl
    def plugin_load(self, manager: Manager) -> None:
        self._manager = manager
        self._states = manager.flux.rpc("state-machine.monitor", {"final": CLEANUP}, flags=FLAG_STREAMING)
        self._states.then(self._state_changed)

    @hookimpl
    def plugin_unload(self, manager: Manager) -> None:
        states, self._states = self._states, None
        if states is not None:
            states.cancel()

    def _state_changed(self, states: Any) -> None:
        """Follow the broker's state: while the instance ends, no epilog is begun that might hold it up."""
        if self._states is None:
            return
        try:
            self._is_ending = states.get()["state"] >= CLEANUP
        except FluxError as exc:
            if exc.errno != errno.ENODATA:
                self._manager.flux.log(3, f"perilog: the state of the broker is not followed: {exc}")
            return
        states.reset()

    @hookimpl
    def conf_update(self, conf: Mapping[str, Any]) -> None:
        self._config = read_config(conf)

    @hookimpl
    def plugin_query(self) -> dict[str, Any]:
        procs = {encode(jobid): run.describe() for jobid, run in self._running.items()}
        return {"conf": self._config.describe(), "procs": procs}

    @hookimpl
    def job_new(self, job: Job) -> None:
        """What ran when the job manager was stopped is lost: run it again, so that the job can go on."""
        for name, procedure in (("prolog", self._config.prolog), ("epilog", self._config.epilog)):
            if f"job-manager.{name}" not in job.perilogs or job.id in self._running:
                continue
            if procedure is not None and job.R is not None:
                self._running[job.id] = Run(self, self._manager, procedure, job, self._config.log_ignore)
            elif name == "prolog":
                job.prolog_finish("job-manager.prolog", 0)
            else:
                job.epilog_finish("job-manager.epilog", 0)

    @hookimpl
    def job_state_run(self, job: Job) -> None:
        if self._config.prolog is not None and job.R is not None:
            job.prolog_start("job-manager.prolog")
            self._run(self._config.prolog, job)

    @hookimpl
    def job_event(self, job: Job, event: Event) -> None:
        if event["name"] == "finish":
            self._start_epilog(job)
        elif event["name"] == "exception" and event["context"]["severity"] == 0:
            run = self._running.get(job.id)
            if run is not None:
                run.exception()

    def _start_epilog(self, job: Job) -> None:
        if self._config.epilog is not None and job.R is not None and not self._is_ending:
            job.epilog_start("job-manager.epilog")
            self._run(self._config.epilog, job)

    def _run(self, procedure: Procedure, job: Job) -> None:
        self._running[job.id] = Run(self, self._manager, procedure, job, self._config.log_ignore)

    def ended(self, run: Run) -> None:
        """A prolog or epilog is over: say so in the job's eventlog. After a failed prolog comes the epilog."""
        job, name = run.job, run.procedure.name
        if self._running.get(job.id) is run:
            del self._running[job.id]
        epilog = self._config.epilog if name == "prolog" and run.has_failed else None
        if epilog is not None:
            job.epilog_start("job-manager.epilog")
        if run.note:
            job.raise_exception(name, 0 if name == "prolog" else 2, run.note)
        finish = job.prolog_finish if name == "prolog" else job.epilog_finish
        finish(f"job-manager.{name}", run.command.status)
        if epilog is not None:
            self._run(epilog, job)


class Run:
    """A prolog or an epilog of one job.

    Attributes:
        note: what is wrong, for the exception; "" when there is nothing to complain of.
    """

    def __init__(
        self, perilog: Perilog, manager: Manager, procedure: Procedure, job: Job, log_ignore: list[re.Pattern[str]]
    ) -> None:
        self.job = job
        self.procedure = procedure
        self.note = ""
        self._perilog, self._manager, self._log_ignore = perilog, manager, log_ignore
        self._canceled = self._timed_out = self._gave_up = self._over = False
        self._id = encode(job.id)
        resources = ResourceSet(job.R)
        self._hosts = dict(zip(resources.ranks, resources.nodelist, strict=False))
        env = {
            "FLUX_JOB_ID": self._id,
            "FLUX_JOB_RANKS": str(resources.ranks),
            "FLUX_JOB_USERID": str(job.userid),
        }
        ranks = resources.ranks if procedure.per_rank else IDset("0")
        self.command = BulkExec(
            manager.flux, procedure.command, env, ranks, on_line=self._line, on_exit=self._exited, on_end=self._ended
        )
        self._timers = []
        if procedure.timeout:
            self._timers.append(manager.call_later(procedure.timeout, self._expired))

    def describe(self) -> dict[str, str]:
        return {"name": self.procedure.name, "active_ranks": str(self.command.active)}

    @property
    def has_failed(self) -> bool:
        return self._canceled or self._timed_out or self.command.status != 0

    def _host(self, rank: int) -> str:
        return self._hosts.get(rank) or os.uname().nodename

    def _line(self, rank: int, stream: str, line: str) -> None:
        if not any(pattern.search(line) for pattern in self._log_ignore):
            level = 3 if stream == "stderr" else 6
            self._manager.flux.log(level, f"{self._where(rank)}: {stream}: {line}")

    def _where(self, rank: int) -> str:
        return f"{self._id}: {self.procedure.name}: {self._host(rank)} (rank {rank})"

    def _exited(self, process: Any) -> None:
        if process.error is not None:
            self._manager.flux.log(3, f"{self._where(process.rank)}: {process.error}")

    # -- how it may end early

    def _expired(self) -> None:
        self._timed_out = True
        self._kill()

    def exception(self) -> None:
        """The job has a fatal exception."""
        if self.procedure.cancel_on_exception and not self._canceled:
            self._canceled = True
            self._kill()

    def _kill(self) -> None:
        self.command.kill(signal.SIGTERM)
        self._timers.append(self._manager.call_later(self.procedure.kill_timeout, self._give_up))

    def _give_up(self) -> None:
        """It does not end by SIGTERM: leave it behind, on nodes that get no more jobs."""
        self._manager.flux.log(3, f"{self._id}: timed out waiting for SIGTERM to terminate {self.procedure.name}")
        self._gave_up = True
        self._finish(self.command.active)

    def _ended(self) -> None:
        failed = self.procedure.per_rank and self.command.status != 0 and not self._canceled
        self._finish(self.command.failed if failed else IDset())

    # -- the end

    def _finish(self, drain: IDset) -> None:
        """Drain nodes, then go on: they must not be given to other jobs before."""
        if self._over:
            return
        self._over = True
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if (self.command.status != 0 and not self._canceled) or self._gave_up:
            self.note = self._describe(drain or self.command.failed or self.command.active)
        if not drain:
            self._perilog.ended(self)
            return
        how = "canceled then timed out" if self._canceled else "timed out" if self._timed_out else "failed"
        reason = f"{self.procedure.name} {how} for job {self._id}"
        request = {"targets": str(drain), "reason": reason, "mode": "update"}
        self._manager.flux.rpc("resource.drain", request, nodeid=0).then(self._drained)

    def _drained(self, answer: Any) -> None:
        try:
            answer.get()
        except FluxError as exc:
            name = self.procedure.name
            self._manager.flux.log(3, f"Failed to drain ranks with failed {name} for {self._id}: {exc}")
        self._perilog.ended(self)

    def _describe(self, ranks: IDset) -> str:
        status, name = self.command.status, self.procedure.name
        signum = os.WTERMSIG(status) if os.WIFSIGNALED(status) else max(os.WEXITSTATUS(status) - 128, 0)
        if self._gave_up and self._canceled:
            what = "canceled then timed out"
        elif self._timed_out:
            what = "timed out"
        elif signum:
            what = f"killed by signal {signum}"
        else:
            what = f"exited with code={os.WEXITSTATUS(status)}"
        hosts = ",".join(self._host(rank) for rank in ranks)
        return f"{name} {what} on {hosts} (rank {ranks})"
