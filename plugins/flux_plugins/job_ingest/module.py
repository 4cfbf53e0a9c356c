"""The job-ingest service: takes jobs in, on every rank (RFC 16; flux_job_submit(3)).

A batch is what came in while the batch before was being committed: one KVS commit and one message to the job
manager for all of it, without a timer.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from flux.constants import FLUX_JOB_NOVALIDATE
from flux.errors import FluxError
from flux.failpoint import failpoint
from flux.job.fluid import FluidGenerator, encode, timestamp_of
from flux.kvs.requests import commit_async
from flux.kvs.txn import KVSTxn
from flux.message import Message
from flux.module import DEFERRED, USER, Module, request
from flux_plugins.job_ingest.hosts import instance_hosts
from flux_plugins.job_ingest.stage import Frobnicator, Stage, Validator
from flux_plugins.job_ingest.validate import SubmitRequest, check_request, redacted, unwrap

__all__ = ["JobIngest"]


class Accepted(NamedTuple):
    """A submission that has passed its checks. t_submit: seconds since the epoch."""

    msg: Message
    req: SubmitRequest
    jobspec: dict[str, Any]
    t_submit: float


Batch = list[tuple[int, Accepted]]


class JobIngest(Module):
    """Checks, ids and batches of submitted jobs."""

    name = "job-ingest"
    requires = ("kvs", "job-manager")
    after = ("kvs", "job-manager")

    def __init__(self) -> None:
        self._generator: FluidGenerator | None = None
        self._accepted: list[Accepted] = []
        self._busy = False
        self._submitted_jobs = self._batches = 0
        self._frobnicator = Frobnicator(self._start_crew)
        self._validator = Validator(self._start_crew)

    async def start(self) -> None:
        self.reconfigured(self.conf)
        if self.rank == 0:
            await self._open_generator()

    def reconfigured(self, conf: dict[str, Any]) -> None:
        self._frobnicator.configure(conf)
        self._validator.configure(conf)
        self._validator.hosts = instance_hosts(self.attrs.get("hostlist"), conf)

    def _start_crew(self, command: str, argv: Sequence[str], limit: float, buffer: str) -> Any:
        from flux_plugins.job_ingest.workers import Crew

        return Crew(self.flux, self.rank, command, argv, limit, buffer)

    def stop(self) -> None:
        self._frobnicator.close()
        self._validator.close()
        accepted, self._accepted = self._accepted, []
        for entry in accepted:
            self.respond_error(entry.msg, FluxError(errno.ENOSYS, "job-ingest is being unloaded"))

    def stats(self) -> dict[str, Any]:
        stages = {"frobnicator": self._frobnicator.stats(), "validator": self._validator.stats()}
        return {"pipeline": stages, "batches": self._batches, "jobs": self._submitted_jobs}

    # -- requests

    @request("submit", allow=USER, payload=SubmitRequest)
    def submit(self, msg: Message, req: SubmitRequest) -> Any:
        check_request(msg, req)
        jobspec = unwrap(msg, req, self.conf)
        if self._frobnicator.is_slow or self._validator.is_slow:
            self.spawn(self._admit_slowly(msg, req, jobspec), "validation")
        else:
            self._accept(msg, req, self._admit(msg, req, jobspec))
        return DEFERRED

    def _admit(self, msg: Message, req: SubmitRequest, jobspec: dict[str, Any]) -> dict[str, Any]:
        """The jobspec that becomes of a submission. FluxError when it is refused."""
        if self._frobnicator.is_on:
            with _counted(self._frobnicator):
                jobspec = self._frobnicator.change(_job(msg, req, jobspec))
        if not req.flags & FLUX_JOB_NOVALIDATE:
            with _counted(self._validator):
                self._validator.check(_job(msg, req, jobspec))
        return jobspec

    async def _admit_slowly(self, msg: Message, req: SubmitRequest, jobspec: dict[str, Any]) -> None:
        try:
            if self._frobnicator.is_on:
                with _counted(self._frobnicator):
                    jobspec = await self._frobnicator.change_slowly(_job(msg, req, jobspec))
            if not req.flags & FLUX_JOB_NOVALIDATE:
                with _counted(self._validator):
                    await self._validator.check_slowly(_job(msg, req, jobspec))
        except FluxError as exc:
            self.respond_error(msg, exc)
        else:
            self._accept(msg, req, jobspec)

    def _accept(self, msg: Message, req: SubmitRequest, jobspec: dict[str, Any]) -> None:
        self._submitted_jobs += 1
        self._accepted.append(Accepted(msg, req, redacted(jobspec), time.time()))
        self._schedule()

    @request("getinfo")
    def getinfo(self, _msg: Message) -> dict[str, int]:
        if self._generator is None:
            raise FluxError(errno.EAGAIN, "job-ingest is not ready yet")
        return {"timestamp": self._generator.timestamp()}

    # -- ids

    async def _open_generator(self) -> None:
        """Begin where the greatest id in use, or the clock of rank 0, is."""
        if self.rank == 0:
            info = await self.flux.rpc("job-manager.getinfo")
            start = timestamp_of(info["max_jobid"]) + 1 if info["max_jobid"] else 0
        else:
            start = (await self.flux.rpc("job-ingest.getinfo", nodeid=0))["timestamp"]
        self._generator = FluidGenerator(self.rank, start)

    async def _open_late(self) -> None:
        try:
            await self._open_generator()
        except FluxError as exc:
            accepted, self._accepted = self._accepted, []
            for entry in accepted:
                self.respond_error(entry.msg, exc)
        self._busy = False
        self._schedule()

    # -- batches

    def _schedule(self) -> None:
        if self._accepted and not self._busy:
            self._busy = True
            self.flux.call_soon(self._commit)

    def _commit(self) -> None:
        if self._generator is None:
            self.spawn(self._open_late(), "id generator")
            return
        accepted, self._accepted = self._accepted, []
        batch = [(self._generator.generate(), entry) for entry in accepted]
        txn = KVSTxn()
        for jobid, entry in batch:
            key = encode(jobid, "kvs")
            txn.put_raw(f"{key}.J", entry.req.J)
            txn.put(f"{key}.jobspec", entry.jobspec)
        self._batches += 1
        failpoint("job-ingest.commit")
        commit_async(self.flux, txn, namespace="primary").then(self._committed, batch)

    def _committed(self, commit: Any, batch: Batch) -> None:
        self._busy = False
        self._schedule()
        try:
            commit.get()
            failpoint("job-ingest.committed")
        except FluxError as exc:
            self._refuse_all(batch, exc)
            return
        jobs = [_submission(jobid, entry) for jobid, entry in batch]
        self.flux.rpc("job-manager.submit", {"jobs": jobs}).then(self._submitted, batch)

    def _submitted(self, rpc: Any, batch: Batch) -> None:
        try:
            refused = dict(rpc.get()["errors"])
        except FluxError as exc:
            self._refuse_all(batch, exc)
            self._unlink([jobid for jobid, _ in batch])
            return
        for jobid, entry in batch:
            if jobid in refused:
                self.respond_error(entry.msg, FluxError(errno.EINVAL, refused[jobid]))
            else:
                self.respond(entry.msg, {"id": jobid})
        self._unlink(list(refused))

    def _refuse_all(self, batch: Batch, error: FluxError) -> None:
        for _, entry in batch:
            self.respond_error(entry.msg, error)

    def _unlink(self, jobids: list[int]) -> None:
        """Remove what was stored of jobs that the job manager refused."""
        if not jobids:
            return
        txn = KVSTxn()
        for jobid in jobids:
            txn.unlink(encode(jobid, "kvs"))
        commit_async(self.flux, txn, namespace="primary").then(self._unlinked)

    def _unlinked(self, commit: Any) -> None:
        try:
            commit.get()
        except FluxError as exc:
            self.log.error(f"data of refused jobs could not be removed: {exc}")


def _submission(jobid: int, entry: Accepted) -> dict[str, Any]:
    return {
        "id": jobid,
        "userid": entry.msg.userid,
        "urgency": entry.req.urgency,
        "t_submit": entry.t_submit,
        "flags": entry.req.flags,
        "jobspec": entry.jobspec,
    }


def _job(msg: Message, req: SubmitRequest, jobspec: dict[str, Any]) -> dict[str, Any]:
    """What validators and frobnicators are told of a job."""
    return {
        "jobspec": jobspec,
        "userid": msg.userid,
        "rolemask": msg.rolemask,
        "urgency": req.urgency,
        "flags": req.flags,
    }


@contextmanager
def _counted(stage: Stage) -> Iterator[None]:
    stage.requests += 1
    try:
        yield
    except FluxError:
        stage.errors += 1
        raise
