"""The job-ingest service: takes jobs in, on every rank (RFC 16; flux_job_submit(3)).

A batch is what came in while the batch before was being committed: one KVS commit and one message to the job
manager for all of it, without a timer.
"""

from __future__ import annotations

import errno
import time
from typing import Any, NamedTuple

from flux.errors import FluxError
from flux.failpoint import failpoint
from flux.job.fluid import FluidGenerator, encode, timestamp_of
from flux.kvs.requests import commit_async
from flux.kvs.txn import KVSTxn
from flux.message import Message
from flux.module import DEFERRED, USER, Module, request
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
        self._validated = self._refused = self._batches = 0

    async def start(self) -> None:
        if self.rank == 0:
            await self._open_generator()

    def stop(self) -> None:
        accepted, self._accepted = self._accepted, []
        for entry in accepted:
            self.respond_error(entry.msg, FluxError(errno.ENOSYS, "job-ingest is being unloaded"))

    def stats(self) -> dict[str, Any]:
        idle = {"running": 0, "requests": 0, "errors": 0, "trash": 0, "backlog": 0, "pids": []}
        checks = {**idle, "requests": self._validated + self._refused, "errors": self._refused}
        return {
            "pipeline": {"frobnicator": idle, "validator": checks},
            "batches": self._batches,
            "jobs": self._validated,
        }

    # -- requests

    @request("submit", allow=USER, payload=SubmitRequest)
    def submit(self, msg: Message, req: SubmitRequest) -> Any:
        try:
            check_request(msg, req)
            jobspec = redacted(unwrap(msg, req))
        except FluxError:
            self._refused += 1
            raise
        self._validated += 1
        self._accepted.append(Accepted(msg, req, jobspec, time.time()))
        self._schedule()
        return DEFERRED

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
