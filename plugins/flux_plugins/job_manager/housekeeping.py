"""Housekeeping: a command on the nodes of a job that is over, before the scheduler gets them back.

Configured by `[job-manager.housekeeping]` (flux-config-job-manager(5), flux-housekeeping(1)). The job goes on to
INACTIVE; the scheduler takes its resources for allocated until they are given back, in parts when so configured.

What is being done is on record in the KVS, as `checkpoint.housekeeping.JOBID`: it goes on when this service is loaded
again, and begins again, on the nodes where it had not ended, when the instance comes back.
"""

from __future__ import annotations

import errno
import math
import signal
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from flux.errors import FluxError
from flux.hostlist import Hostlist
from flux.idset import IDset
from flux.job.fluid import encode
from flux.module.presence import Presence
from flux.resource import ResourceSet
from flux.util import parse_fsd
from flux_plugins.job_manager import stored
from flux_plugins.job_manager.allocation import Allocation, Work
from flux_plugins.job_manager.job import Job
from flux_plugins.job_manager.payloads import HousekeepingKill

if TYPE_CHECKING:
    from flux_plugins.job_manager.manager import Manager

__all__ = ["Housekeeping", "read_config"]

_KEYS = ("command", "release-after", "exit-on-first-error", "use-systemd-unit")
_TABLE = "job-manager.housekeeping"
_FOLDER = "checkpoint.housekeeping"


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
        self._presence: Presence | None = None

    def configure(self, conf: Mapping[str, Any]) -> None:
        """Take another configuration, for jobs that end from now on."""
        self.config = read_config(conf)

    async def restore(self) -> None:
        """Go on with what this service, or the instance, was doing when it ended."""
        for key in sorted(await stored.names(self.manager.flux, _FOLDER), key=len):
            try:
                work = msgspec.convert(await stored.read_json(self.manager.flux, f"{_FOLDER}.{key}"), Work)
                self._begin(work, later=True).resume()
            except (ValueError, FluxError) as exc:
                self.manager.log.error(f"housekeeping of job {key} cannot go on: {exc}")
                self.manager.writer.unlink(f"{_FOLDER}.{key}")

    def stop(self) -> None:
        """Leave what runs to the next service."""
        for allocation in self._running.values():
            allocation.let_go()

    def start(self, job: Job) -> bool:
        """Take over the resources of a job that frees them; False when nothing is to be done."""
        if not self.config.command or job.R is None:
            return False
        ranks = ResourceSet(job.R).ranks
        work = Work(
            id=job.id,
            userid=job.userid,
            priority=job.priority,
            t_submit=job.t_submit,
            t_start=time.time(),
            command=list(self.config.command),
            release_after=self.config.release_after,
            ranks=str(ranks),
            hosts=str(Hostlist([host for rank in ranks for host in self.manager.hosts[rank : rank + 1]])),
            R=job.R,
            pending=str(ranks),
        )
        self.keep(work)
        self._begin(work)
        return True

    def _begin(self, work: Work, later: bool = False) -> Allocation:
        if self._presence is None:
            self._presence = Presence(self.manager.flux, lambda _gone: None, self.manager.log.error, self._brokers_come)
        allocation = self._running[work.id] = Allocation(self, work, self._presence, later)
        return allocation

    def _brokers_come(self, ranks: IDset) -> None:
        for allocation in list(self._running.values()):
            allocation.go_on(ranks)

    def keep(self, work: Work) -> None:
        """Put what is being done on record."""
        self.manager.writer.put(f"{_FOLDER}.{work.id}", msgspec.to_builtins(work))

    def ended(self, jobid: int) -> None:
        del self._running[jobid]
        self.manager.writer.unlink(f"{_FOLDER}.{jobid}")

    def kill(self, req: HousekeepingKill) -> None:
        """Signal what runs. FluxError EINVAL for what is no signal or no idset, ENOENT when the job has none."""
        if req.signum not in signal.valid_signals():
            raise FluxError(errno.EINVAL, "Invalid signal number")
        try:
            ranks = None if req.ranks is None else IDset(req.ranks)
        except ValueError as exc:
            raise FluxError(errno.EINVAL, str(exc)) from None
        for jobid, allocation in list(self._running.items()):
            if req.jobid in (None, jobid):
                allocation.kill(req.signum, ranks)

    def held(self) -> Iterator[tuple[Work, dict[str, Any]]]:
        """Each job whose resources have not all been given back, and what of its R has not."""
        for allocation in self._running.values():
            yield allocation.work, allocation.remaining.to_dict()

    def stats(self) -> dict[str, Any]:
        return {
            "running": {encode(jobid): allocation.stats() for jobid, allocation in self._running.items()},
            "config": {"release-after": self.config.release_after, "command": " ".join(self.config.command)},
        }
