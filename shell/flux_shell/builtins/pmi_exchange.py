"""What tasks put before a PMI barrier, gathered from all shells of a job and given to all, along a tree.

A shell sends its parent what its own tasks and its children have put, and gets the whole in answer. A request is sent
again when it, or its answer, was lost on the way, so a round may be asked for twice.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from flux.errors import FluxError
from flux.future import Future
from flux.hooks.shell import DEFERRED
from flux.message import Message

if TYPE_CHECKING:
    from flux_shell.shell import Shell

__all__ = ["Exchange"]

Entries = dict[str, str]


class Exchange:
    """One shell's part, round after round.

    Args:
        fanout: children of each shell. on_done: called with all entries of the round, and the error that it ended in.
    """

    def __init__(self, shell: Shell, fanout: int, on_done: Callable[[Entries, str], None]) -> None:
        self._shell, self._on_done = shell, on_done
        self._parent = (shell.rank - 1) // fanout
        first = shell.rank * fanout + 1
        self._children = range(first, min(first + fanout, shell.size))
        self._gathered: Entries = {}
        self._waiting: dict[int, Message] = {}
        self._entered = self._sent = False
        self._round = 0
        self._last: Entries = {}
        self._error = ""
        if shell.size > 1:
            shell.on_request("pmi-exchange", self._receive)
            shell.on_request("pmi-lost", lambda msg: self._fail(msg.payload["error"]))

    def enter(self, entries: Entries) -> None:
        """The local tasks are all in the barrier."""
        self._entered = True
        self._gathered.update(entries)
        if self._error:
            self._finish({}, self._error)
        else:
            self._proceed()

    def lost(self, shell_rank: int) -> None:
        """A shell is gone, and with it its tasks: no barrier can end any more. For the first shell, which is told."""
        error = f"shell {shell_rank} is lost"
        for rank in self._shell.others():
            if rank != shell_rank:
                self._shell.send(rank, "pmi-lost", {"error": error})
        self._fail(error)

    def _fail(self, error: str) -> None:
        self._error = error
        if self._entered or self._waiting:
            self._finish({}, error)

    def _receive(self, msg: Message) -> object:
        request = msg.payload
        if request["round"] < self._round:
            return {"entries": self._last}
        if self._error:
            raise FluxError(errno.EIO, self._error)
        rank = request["shell_rank"]
        if rank not in self._children:
            raise FluxError(errno.EINVAL, f"shell {rank} is no child of shell {self._shell.rank} in the exchange")
        self._gathered.update(request["entries"])
        self._waiting[rank] = msg
        self._proceed()
        return DEFERRED

    def _proceed(self) -> None:
        """Once all that is below is there: pass it on, or, at the root, give it to all."""
        if not self._entered or len(self._waiting) < len(self._children):
            return
        if self._shell.rank == 0:
            self._finish(self._gathered, "")
        elif not self._sent:
            self._sent = True
            request = {"entries": self._gathered, "round": self._round, "shell_rank": self._shell.rank}
            asked = self._shell.steady_rpc(lambda: self._shell.rpc(self._parent, "pmi-exchange", request))
            asked.then(self._answered, self._round)

    def _answered(self, future: Future, number: int) -> None:
        try:
            entries, error = future.get()["entries"], ""
        except FluxError as exc:
            entries, error = {}, str(exc)
        if number == self._round:
            self._finish(entries, error)

    def _finish(self, entries: Entries, error: str) -> None:
        waiting, self._waiting = self._waiting, {}
        entered, self._entered = self._entered, False
        self._gathered, self._sent, self._error = {}, False, error
        if not error:
            self._last = entries
            self._round += 1
        for msg in waiting.values():
            if error:
                self._shell.flux.respond_error(msg, errno.EIO, error)
            else:
                self._shell.flux.respond(msg, {"entries": entries})
        if entered:
            self._on_done(entries, error and f"exchange with the other shells: {error}")
