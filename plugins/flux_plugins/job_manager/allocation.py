"""The resources of one job while housekeeping has them: the command runs on their ranks, then they are given back."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from flux.bulkexec import BulkExec, Lasting
from flux.errors import FluxError
from flux.hostlist import Hostlist
from flux.idset import IDset
from flux.job.fluid import encode
from flux.module.presence import Presence
from flux.resource import ResourceSet

if TYPE_CHECKING:
    from flux.rexec import RemoteProcess
    from flux_plugins.job_manager.housekeeping import Housekeeping

__all__ = ["Allocation", "Work"]

_HEIR = "job-manager"
_SIGNALED = 128
_RETRY = 1.0
"""Seconds until a broker is asked again that cannot be reached and has not left the instance."""


class Work(msgspec.Struct):
    """What is on record of the housekeeping of a job.

    Attributes:
        id, userid, priority, t_submit: of the job. t_start: when its housekeeping began.
        command, release_after: as they were configured then.
        ranks: idset of the job's. hosts: hostlist of their brokers, one for each.
        R: what has not been given back. pending: idset of its ranks on which the command has not ended.
    """

    id: int
    userid: int
    priority: int
    t_submit: float
    t_start: float
    command: list[str]
    release_after: float
    ranks: str
    hosts: str
    R: dict[str, Any]
    pending: str


class Allocation:
    """The resources of one job while the command runs on their ranks.

    A broker that is lost with the command running, or shut down, is waited for, and runs it again; those that are done
    do not wait with it.

    Args:
        presence: which brokers are part of the instance.
        later: there was a service before this one, which may have started the command: `resume` goes on with it.

    Attributes:
        work: what it is about. remaining: what the scheduler has not got back.
    """

    def __init__(self, housekeeping: Housekeeping, work: Work, presence: Presence, later: bool) -> None:
        self.work = work
        self.remaining = ResourceSet(work.R)
        self._housekeeping = housekeeping
        self._manager = housekeeping.manager
        self._presence = presence
        self._timer: Any = None
        self._killed = IDset()
        self._told_lost = IDset()
        self._release_at_once = work.release_after == 0
        self._name = encode(work.id)
        self._hosts = dict(zip(self.remaining.ranks, self.remaining.nodelist, strict=False))
        self._command = self._start(IDset(work.pending), later)
        self._manager.log.debug(f"housekeeping: {self._name} {'goes on' if later else 'started'}")

    def _start(self, ranks: IDset, later: bool) -> BulkExec:
        work = self.work
        env = {"FLUX_JOB_ID": str(work.id), "FLUX_JOB_USERID": str(work.userid), "FLUX_JOB_RANKS": work.ranks}
        return BulkExec(
            self._manager.flux,
            work.command,
            env,
            ranks,
            on_line=self._line,
            on_exit=self._exited,
            lasting=Lasting(f"housekeeping-{work.id}", _HEIR),
            later=ranks if later else (),
            is_lost=self._is_lost,
        )

    def resume(self) -> None:
        """Go on where an earlier service left off, on each broker as soon as it is there.

        An instance that comes back may have its ranks on other hosts, where the job never was: those are given up.
        """
        hosts = self._manager.hosts
        were = zip(IDset(self.work.ranks), Hostlist(self.work.hosts), strict=False)
        strangers = self._command.give_up([rank for rank, host in were if [host] != hosts[rank : rank + 1]])
        if strangers:
            self._manager.log.error(
                f"housekeeping: {self._name} is over on ranks {strangers}, which are other hosts now"
            )
            self._progress()
        self.go_on(rank for rank in self._command.waiting if rank in self._presence)

    # -- while it runs

    def _line(self, rank: int, stream: str, line: str) -> None:
        log = self._manager.log.error if stream == "stderr" else self._manager.log.info
        log(f"housekeeping: {self._where(rank)} {self._name}: {line}")

    def _where(self, rank: int) -> str:
        return f"{self._hosts.get(rank, '?')} (rank {rank})"

    def kill(self, signum: int, ranks: IDset | None) -> None:
        """Signal the command on these ranks, or all; a broker that is waited for is waited for no longer."""
        self._killed |= self._command.active if ranks is None else ranks
        self._command.kill(signum, ranks)
        if self._command.give_up(ranks):
            self._progress()

    def let_go(self) -> None:
        """Leave what runs to the next service."""
        self._cancel_timer()
        self._keep()
        self._command.let_go()
        self._command.give_up()

    # -- brokers that come and go

    def _is_lost(self, process: RemoteProcess) -> bool:
        """May a broker that went down have ended the command? Then its rank waits until that is known."""
        if process.error is not None and process.error.errno == errno.EHOSTUNREACH:
            self._manager.flux.call_soon(lambda: self._lost(process))
        elif process.exitcode > _SIGNALED and process.rank not in self._killed:
            self._manager.spawn(self._look_after(process), f"housekeeping of {self._name}")
        else:
            return False
        return True

    async def _look_after(self, process: RemoteProcess) -> None:
        """A signal that was not ours ended the command: was it a broker that stops?"""
        try:
            state = (await self._manager.flux.rpc("state-machine.get", nodeid=process.rank))["state"]
        except FluxError:
            state = ""
        if state != "run":
            self._lost(process)
        elif self._command.give_up([process.rank]):
            self._exited(process)

    def _lost(self, process: RemoteProcess) -> None:
        rank = process.rank
        if rank not in self._command.waiting:
            return
        if process.pid or rank not in self._told_lost:  # else another try that has not reached it
            self._told_lost.set(rank)
            self._manager.log.error(f"housekeeping: {self._where(rank)} {self._name}: lost, to be done again")
        if rank in self._presence:
            self._manager.flux.call_later(_RETRY, lambda: self.go_on([rank]))
        self._progress()

    def go_on(self, ranks: Iterable[int]) -> None:
        """These brokers are there: the command is taken up on those that are waited for, or run."""
        self._command.go_on(ranks)

    # -- the end

    def _exited(self, process: RemoteProcess) -> None:
        why = _failure(process)
        if why:
            self._manager.log.error(f"housekeeping: {self._where(process.rank)} {self._name}: {why}")
        self._progress()

    def _progress(self) -> None:
        """The command has ended on some rank, or a broker is lost."""
        release_after = self.work.release_after
        if not self._command.active:
            self._end()
        elif self._release_at_once or self._command.waiting:
            self._release()
        elif self._timer is None and release_after > 0:
            self._timer = self._manager.flux.call_later(release_after, self._expired)

    def _expired(self) -> None:
        self._release_at_once = True
        self._release()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _end(self) -> None:
        self._cancel_timer()
        self._release()
        self._manager.log.debug(f"housekeeping: {self._name} complete")
        self._housekeeping.ended(self.work.id)

    def _release(self) -> None:
        """Give back what belongs to ranks on which the command has ended."""
        active = self._command.active
        done = self.remaining.ranks - active
        if done:
            R = self.remaining.copy_ranks(done)
            self.remaining = self.remaining.copy_ranks(active)
            self._manager.scheduler.give_back(self.work.id, R.to_dict(), final=not active)
            if active:
                self._keep()

    def _keep(self) -> None:
        """Put on record what is left to be done."""
        self.work.R, self.work.pending = self.remaining.to_dict(), str(self._command.active)
        self._housekeeping.keep(self.work)

    def stats(self) -> dict[str, Any]:
        """t_start: when it began. pending: ranks where it runs. allocated: ranks not given back."""
        return {
            "t_start": self.work.t_start,
            "pending": str(self._command.active),
            "allocated": str(self.remaining.ranks),
        }


def _failure(process: RemoteProcess) -> str:
    """Why a command failed, "" when it did not."""
    if process.error is not None:
        return str(process.error)
    if process.exitcode > _SIGNALED:
        signum = process.exitcode - _SIGNALED
        return signal.strsignal(signum) or f"signal {signum}"
    return "nonzero exit code" if process.exitcode else ""
