"""The execution service: starts jobs for the job manager, and ends them (RFC 32)."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import time
from typing import Any

from flux.errors import FluxError
from flux.hostlist import Hostlist
from flux.idset import IDset
from flux.job.fluid import encode as encode_id
from flux.message import ROLE_OWNER, Message
from flux.module import DEFERRED, USER, Module, event, request
from flux.module.presence import Presence
from flux_plugins.job_exec.machine import Execution
from flux_plugins.job_exec.protocol import Barrier, CriticalRanks, Expiration, Override, Settings, read_settings
from flux_plugins.job_exec.run import Run
from flux_plugins.job_exec.shells import Shells, shell_environment
from flux_plugins.job_exec.testexec import TestExec, read_plan

__all__ = ["JobExec"]


class JobExec(Module):
    """Runs the shells of jobs."""

    name = "job-exec"
    requires = ("job-manager", "kvs", "rexec")
    after = ("job-manager", "kvs", "rexec", "resource")
    ranks = "0"

    def __init__(self) -> None:
        self.settings = read_settings(self.conf.get("exec") or {})
        self._environment = shell_environment(os.environ)
        self._runs: dict[int, Run] = {}
        self._sealing: set[Run] = set()
        self._all_sealed = asyncio.Event()
        self._counts = {"started": 0, "failed": 0}

    async def start(self) -> None:
        self._jobid_path = (self.attrs.get("jobid-path") or "").rstrip("/")
        self._presence = Presence(self.flux, self._ranks_gone, self.log.error)
        await self._introduce()

    async def _introduce(self) -> None:
        await self.flux.rpc("job-manager.exec-hello", {"service": self.module_name})

    @event("module.restarted")
    async def module_restarted(self, msg: Message) -> None:
        """A new job manager has to be told who runs its jobs."""
        if msg.payload["rank"] == self.rank and msg.payload["name"] == "job-manager":
            await self._introduce()

    async def stop(self) -> None:
        """Wait until the namespaces of jobs that have ended are kept; leave those that run to the next service."""
        for run in self._runs.values():
            run.let_go()
        for run in self._runs.values():
            await run.guest.settle()
        if self._sealing:
            self._all_sealed.clear()
            await self._all_sealed.wait()

    def reconfigured(self, conf: dict[str, Any]) -> None:
        self.settings = read_settings(conf.get("exec") or {})

    # -- start

    @request("start", streaming=True)
    def start_job(self, msg: Message) -> Any:
        job = msg.payload
        running = self._find(job["id"])
        if running is not None:
            running.adopt(msg)
            return DEFERRED
        run = Run(self, msg, Execution(_ranks(job["R"]), self.settings))
        try:
            self._admit(job)
            run.launcher = self._launcher(run, job)
        except FluxError as exc:
            self._refuse(run, msg, str(exc))
            return DEFERRED
        self._runs[run.id] = run
        self._counts["started"] += 1
        run.expiration = _expiration(job["R"]["execution"], self.settings)
        if job.get("reattach"):
            run.take_over(lambda note: self._lose(run, msg, note))
        else:
            run.expire_at(run.expiration)
            run.start()
        return DEFERRED

    def _lose(self, run: Run, msg: Message, note: str) -> None:
        """The job's shells are not there any more."""
        self._runs.pop(run.id, None)
        self._refuse(run, msg, note)

    def _find(self, jobid: int) -> Run | None:
        """A job whose shells run, or have ended just now."""
        return self._runs.get(jobid) or next((run for run in self._sealing if run.id == jobid), None)

    def _admit(self, job: dict[str, Any]) -> None:
        owner = int(self.attrs["security.owner"])
        if job["userid"] != owner and not (self.settings.allow_guests and _is_test(job)):
            text = f"this instance runs jobs of its owner {owner} only, not of user {job['userid']}"
            raise FluxError(errno.EPERM, text)

    def _refuse(self, run: Run, msg: Message, note: str) -> None:
        """The job cannot be started: say why, and let go of its resources."""
        self._counts["failed"] += 1
        for kind, data in (
            ("exception", {"severity": 0, "type": "exec", "note": note}),
            ("release", {"ranks": "all", "final": True}),
        ):
            self.respond(msg, {"id": run.id, "type": kind, "data": data})
        if msg.payload.get("reattach"):
            run.guest.log("done", {})
            self._sealing.add(run)
            run.guest.create(lambda _error: run.guest.seal(lambda: self.sealed(run)))

    def _launcher(self, run: Run, job: dict[str, Any]) -> Shells | TestExec:
        system = _system(job)
        plan = read_plan(system)
        if plan is not None:
            return TestExec(self.flux, plan, run, run.fail)
        shell = (system.get("exec") or {}).get("job_shell") or self.settings.job_shell
        path = f"{self._jobid_path}/{encode_id(run.id)}"
        env = {**self._environment, "FLUX_KVS_NAMESPACE": run.guest.namespace, "FLUX_JOB_ID_PATH": path}
        cmdline, is_present = [shell, str(run.id)], self._presence.__contains__
        return Shells(self.flux, self.settings.service, cmdline, env, job, run, is_present)

    def forget(self, run: Run) -> None:
        """A job has no shells any more; its namespace is still to be kept."""
        self._runs.pop(run.id, None)
        self._sealing.add(run)

    def sealed(self, run: Run) -> None:
        """A job's namespace is kept."""
        self._sealing.discard(run)
        if not self._sealing:
            self._all_sealed.set()

    # -- while jobs run

    def _ranks_gone(self, ranks: IDset) -> None:
        hosts = Hostlist(self.attrs.get("hostlist") or [])
        for rank in ranks:
            host = hosts[rank] if rank < len(hosts) else "a broker"
            for run in list(self._runs.values()):
                run.rank_gone(rank, host)

    @event("job-exception")
    def job_exception(self, msg: Message) -> None:
        payload = msg.payload
        run = self._runs.get(payload["id"])
        if run is not None:
            run.perform(run.execution.on_exception(payload["severity"], payload.get("wait_status")))

    def _run_of(self, jobid: int, msg: Message) -> Run:
        """A running job of the sender's. FluxError ENOENT, EPERM."""
        run = self._runs.get(jobid)
        if run is None:
            raise FluxError(errno.ENOENT, f"job {encode_id(jobid)} is not running")
        if not msg.rolemask & ROLE_OWNER and msg.userid != run.userid:
            raise FluxError(errno.EPERM, f"job {encode_id(jobid)} is not yours")
        return run

    @request("expiration", payload=Expiration)
    def expiration(self, msg: Message, req: Expiration) -> None:
        if req.expiration < 0:
            raise FluxError(errno.EINVAL, f"expiration must be 0 or more, not {req.expiration:g}")
        self._run_of(req.id, msg).expire_at(req.expiration)

    @request("critical-ranks", allow=USER, payload=CriticalRanks)
    def critical_ranks(self, msg: Message, req: CriticalRanks) -> None:
        execution = self._run_of(req.id, msg).execution
        try:
            ranks = set(IDset(req.ranks))
        except ValueError as exc:
            raise FluxError(errno.EPROTO, f"ranks: {exc}") from None
        if not ranks <= set(range(len(execution.ranks))):
            raise FluxError(errno.EINVAL, f"ranks {req.ranks}: the job has {len(execution.ranks)} shells")
        execution.critical = ranks

    @request("shell-barrier", allow=USER, payload=Barrier)
    def shell_barrier(self, msg: Message, req: Barrier) -> Any:
        try:
            self._run_of(req.id, msg).enter_barrier(req.rank, req.round, msg)
        except FluxError as exc:
            # a shell waits for this answer even when it marked its request noresponse
            self.flux.send_message(msg.respond(str(exc), errnum=exc.errno))
        return DEFERRED

    @request("override", allow=USER, payload=Override)
    def override(self, msg: Message, req: Override) -> None:
        self._run_of(req.jobid, msg).override(req.event, req.status)

    def stats(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "method": settings.method,
            "kill-timeout": settings.kill_timeout,
            "term-signal": signal.Signals(settings.term_signal).name,
            "kill-signal": signal.Signals(settings.kill_signal).name,
            "max-kill-count": settings.max_kill_count,
            "max-kill-timeout": settings.max_kill_timeout,
            "effective-max-kill-timeout": settings.effective_max_kill_timeout(),
            "jobs": {encode_id(run.id): run.describe() for run in self._runs.values()},
            "sealing": len(self._sealing),
            **self._counts,
            "config": {
                "default_job_shell": settings.job_shell,
                "exec_service": settings.service,
                "default_barrier_timeout": settings.barrier_timeout,
                "shell_exit_timeout": settings.shell_exit_timeout,
                "max_start_delay_percent": settings.max_start_delay_percent,
                "testexec_allow_guests": int(settings.allow_guests),
            },
        }


def _system(job: dict[str, Any]) -> dict[str, Any]:
    return (job["jobspec"].get("attributes") or {}).get("system") or {}


def _is_test(job: dict[str, Any]) -> bool:
    return (_system(job).get("exec") or {}).get("test") is not None


def _expiration(execution: dict[str, Any], settings: Settings) -> float:
    """When a job's time is up: a start that is late by much of its duration makes that later (0 for never)."""
    expiration: float = execution.get("expiration") or 0.0
    start: float = execution.get("starttime") or 0.0
    late = time.time() - start
    if expiration > start > 0 and late > (expiration - start) * settings.max_start_delay_percent / 100:
        return expiration + late
    return expiration


def _ranks(R: dict[str, Any]) -> list[int]:
    entries = R["execution"]["R_lite"]
    if len(entries) == 1 and entries[0]["rank"].isdecimal():
        return [int(entries[0]["rank"])]
    return sorted(IDset().union(*(entry["rank"] for entry in entries)))
