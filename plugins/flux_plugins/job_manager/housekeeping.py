"""Housekeeping: a command on the nodes of a job that is over, before the scheduler gets them back.

Configured by `[job-manager.housekeeping]` (flux-config-job-manager(5), flux-housekeeping(1)). The job goes on to
INACTIVE; the scheduler takes its resources for allocated until they are given back, in parts when so configured.
"""

from __future__ import annotations

import errno
import math
import signal
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from flux.bulkexec import BulkExec
from flux.errors import FluxError
from flux.idset import IDset
from flux.job.fluid import encode
from flux.resource import ResourceSet
from flux.util import parse_fsd
from flux_plugins.job_manager.job import Job
from flux_plugins.job_manager.payloads import HousekeepingKill

if TYPE_CHECKING:
    from flux.rexec import RemoteProcess
    from flux_plugins.job_manager.manager import Manager

__all__ = ["Housekeeping", "read_config"]

_KEYS = ("command", "release-after", "exit-on-first-error", "use-systemd-unit")
_TABLE = "job-manager.housekeeping"


class Config(NamedTuple):
    """command: none when nothing is to be done. release_after: seconds, -1.0 to wait for all ranks."""

    command: tuple[str, ...] = ()
    release_after: float = -1.0


def read_config(conf: Mapping[str, Any]) -> Config:
    """The table `[job-manager.housekeeping]` of a configuration. FluxError EINVAL when something in it is wrong."""
    table = (conf.get("job-manager") or {}).get("housekeeping")
    if table is None:
        return Config()
    if not isinstance(table, Mapping):
        raise FluxError(errno.EINVAL, f"{_TABLE} must be a table")
    unknown = table.keys() - set(_KEYS)
    if unknown:
        raise FluxError(errno.EINVAL, f"{_TABLE}: unknown key {min(unknown)}: it takes {', '.join(_KEYS)}")
    command = table.get("command")
    if command is None:
        imp = (conf.get("exec") or {}).get("imp")
        if imp is None:
            raise FluxError(errno.EINVAL, f"{_TABLE}: no command is set, and no exec.imp to run one")
        command = [imp, "run", "housekeeping"]
    if not isinstance(command, list) or not command or not all(isinstance(word, str) for word in command):
        raise FluxError(errno.EINVAL, f"{_TABLE}.command must be an array of strings")
    return Config(tuple(command), _release_after(table.get("release-after")))


def _release_after(value: Any) -> float:
    if value is None:
        return -1.0
    try:
        seconds = parse_fsd(str(value))
    except ValueError as exc:
        raise FluxError(errno.EINVAL, f"{_TABLE}.release-after: {exc}") from None
    return -1.0 if math.isinf(seconds) else seconds


class Housekeeping:
    """What is being done, job by job."""

    def __init__(self, manager: Manager) -> None:
        self.manager = manager
        self.config = Config()
        self._running: dict[int, Allocation] = {}

    def configure(self, conf: Mapping[str, Any]) -> None:
        """Take another configuration, for jobs that end from now on."""
        self.config = read_config(conf)

    def start(self, job: Job) -> bool:
        """Take over the resources of a job that frees them; False when nothing is to be done."""
        if not self.config.command or job.R is None:
            return False
        self._running[job.id] = Allocation(self, job, job.R)
        return True

    def ended(self, jobid: int) -> None:
        del self._running[jobid]

    def kill(self, req: HousekeepingKill) -> None:
        """Signal what runs. FluxError EINVAL for what is no signal or no idset, ENOENT when the job has none."""
        if req.signum not in signal.valid_signals():
            raise FluxError(errno.EINVAL, "Invalid signal number")
        try:
            ranks = None if req.ranks is None else IDset(req.ranks)
        except ValueError as exc:
            raise FluxError(errno.EINVAL, str(exc)) from None
        for jobid, allocation in self._running.items():
            if req.jobid in (None, jobid):
                allocation.command.kill(req.signum, ranks)

    def held(self) -> Iterator[tuple[Job, dict[str, Any]]]:
        """Each job whose resources have not all been given back, and what of its R has not."""
        for allocation in self._running.values():
            yield allocation.job, allocation.remaining.to_dict()

    def stats(self) -> dict[str, Any]:
        return {
            "running": {encode(jobid): allocation.stats() for jobid, allocation in self._running.items()},
            "config": {"release-after": self.config.release_after, "command": " ".join(self.config.command)},
        }


class Allocation:
    """The resources of one job while the command runs on their ranks.

    Attributes:
        remaining: what the scheduler has not got back.
    """

    def __init__(self, housekeeping: Housekeeping, job: Job, R: dict[str, Any]) -> None:
        self.job = job
        self.remaining = ResourceSet(R)
        self._housekeeping = housekeeping
        self._manager = housekeeping.manager
        self._config = housekeeping.config
        self._t_start = time.time()
        self._timer: Any = None
        self._release_at_once = self._config.release_after == 0
        self._name = encode(job.id)
        self._hosts = dict(zip(self.remaining.ranks, self.remaining.nodelist, strict=False))
        env = {
            "FLUX_JOB_ID": str(job.id),
            "FLUX_JOB_USERID": str(job.userid),
            "FLUX_JOB_RANKS": str(self.remaining.ranks),
        }
        ranks = self.remaining.ranks
        self.command = BulkExec(
            self._manager.flux, self._config.command, env, ranks, on_line=self._line, on_exit=self._exited
        )
        self._manager.log.debug(f"housekeeping: {self._name} started")

    def _line(self, rank: int, stream: str, line: str) -> None:
        log = self._manager.log.error if stream == "stderr" else self._manager.log.info
        log(f"housekeeping: {self._where(rank)} {self._name}: {line}")

    def _where(self, rank: int) -> str:
        return f"{self._hosts.get(rank, '?')} (rank {rank})"

    def _exited(self, process: RemoteProcess) -> None:
        why = _failure(process)
        if why:
            self._manager.log.error(f"housekeeping: {self._where(process.rank)} {self._name}: {why}")
        if not self.command.active:
            self._end()
        elif self._release_at_once:
            self._release()
        elif self._timer is None and self._config.release_after > 0:
            self._timer = self._manager.flux.call_later(self._config.release_after, self._expired)

    def _expired(self) -> None:
        self._release_at_once = True
        self._release()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._release()
        self._manager.log.debug(f"housekeeping: {self._name} complete")
        self._housekeeping.ended(self.job.id)

    def _release(self) -> None:
        """Give back what belongs to ranks on which the command has ended."""
        done = self.remaining.ranks - self.command.active
        if done:
            R = self.remaining.copy_ranks(done)
            self.remaining = self.remaining.copy_ranks(self.command.active)
            self._manager.scheduler.give_back(self.job.id, R.to_dict(), final=not self.command.active)

    def stats(self) -> dict[str, Any]:
        """t_start: when it began. pending: ranks where it runs. allocated: ranks not given back."""
        return {
            "t_start": self._t_start,
            "pending": str(self.command.active),
            "allocated": str(self.remaining.ranks),
        }


def _failure(process: RemoteProcess) -> str:
    """Why a command failed, "" when it did not."""
    if process.error is not None:
        return str(process.error)
    if process.exitcode > 128:
        return signal.strsignal(process.exitcode - 128) or f"signal {process.exitcode - 128}"
    return "nonzero exit code" if process.exitcode else ""
