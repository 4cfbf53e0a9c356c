"""Standard input of tasks: from whoever is attached to the job, or from a file (RFC 24, flux-shell(1))."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, Any

from flux.errors import FluxError
from flux.hooks.shell import DEFERRED, hookimpl
from flux.idset import IDset
from flux.message import Message
from flux.stdio import Chunk, decode_io, encode_io
from flux.util import parse_size
from flux_shell.journal import check_batch_timeout
from flux_shell.mustache import render
from flux_shell.option_names import object_of, warn_of_misnamed
from flux_shell.taskio import Writer, pipe

if TYPE_CHECKING:
    from flux_shell.shell import Shell
    from flux_shell.task import Task

__all__ = ["Input"]

HIGH_WATER = 1 << 20
"""Bytes of input that wait for tasks before who sends it is made to wait too."""

_HEADER: dict[str, Any] = {"version": 1, "encoding": {"stdin": "UTF-8"}, "count": {"stdin": 1}, "options": {}}


class Input:
    """Feeds the local tasks; the first shell also takes the requests and passes them on to the others."""

    def __init__(self) -> None:
        self._writers: dict[int, Writer] = {}
        self._early: list[Chunk] = []
        self._ended = False
        self._unanswered: list[Message] = []
        self._room = sys.maxsize
        self._path = ""

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        self._shell = shell
        options = object_of("input", shell.options.get("input"), "input.stdin.type=file")
        option = object_of("input.stdin", options.get("stdin"), "input.stdin.type=file")
        warn_of_misnamed(shell, "input", options, ("stdin", "limit", "batch-timeout"))
        warn_of_misnamed(shell, "input.stdin", option, ("type", "path"))
        check_batch_timeout("input", options)
        kind = option.get("type", "service")
        if kind not in ("service", "file"):
            raise ValueError(f"shell option input.stdin.type is service or file, not {kind!r}")
        if kind == "file":
            self._path = str(option.get("path") or "")
            if not self._path:
                raise ValueError("shell option input.stdin.type=file needs input.stdin.path")
        else:
            shell.on_request("stdin", self._request)
        if (limit := options.get("limit")) is not None:
            self._room = _checked_limit(limit)
        if shell.rank == 0 and shell.journal is not None:
            shell.journal.on_drained.append(self._drained)
            shell.journal.append("input", "header", _HEADER)
            if self._path:
                redirect = {"stream": "stdin", "rank": "all", "path": self._path}
                shell.journal.append("input", "redirect", redirect)

    @hookimpl
    def task_init(self, shell: Shell, task: Task) -> None:
        if self._path:
            task.pass_fd(self._open(shell, task), 0)
        elif not shell.standalone:
            read, write = pipe()
            task.pass_fd(read, 0)
            self._writers[task.rank] = Writer(shell.reactor, write, self._drained)

    def _open(self, shell: Shell, task: Task) -> int:
        path = render(self._path, shell, task)
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as exc:
            shell.die(f"opening input file {path}: {exc.strerror}")
            raise

    @hookimpl
    def shell_start(self) -> None:
        early, self._early = self._early, []
        for chunk in early:
            self._feed(chunk)

    @hookimpl
    def task_exit(self, task: Task) -> None:
        writer = self._writers.get(task.rank)
        if writer is not None:
            writer.close()

    # -- requests

    def _request(self, msg: Message) -> Any:
        chunk = decode_io(msg.payload or {})
        if chunk.stream != "stdin":
            raise FluxError(errno.EINVAL, f"there is no input stream {chunk.stream!r}, only stdin")
        if self._ended:
            raise FluxError(errno.EPIPE, "standard input has ended")
        ranks = _ranks(chunk.rank)
        ntasks = self._shell.job.ntasks
        if ranks is not None and ranks.first() >= ntasks:
            raise FluxError(errno.EINVAL, f"input is for tasks {ranks}, but the job has tasks 0-{ntasks - 1} alone")
        self._ended = chunk.eof and ranks is None
        if self._shell.rank == 0:
            self._count(chunk)
            self._record(chunk)
            self._pass_on(chunk, msg.payload, ranks)
        if len(self._shell.tasks) < self._shell.job.counts[self._shell.rank]:
            self._early.append(chunk)
        else:
            self._feed(chunk)
        if not self._is_full():
            return None
        self._unanswered.append(msg)  # so that the sender waits
        return DEFERRED

    def _is_full(self) -> bool:
        """True when even the task that reads fastest has much to read, or much is to be recorded yet."""
        journal = self._shell.journal
        if self._shell.rank == 0 and journal is not None and journal.is_full:
            return True
        backlogs = [writer.backlog for writer in self._writers.values() if not writer.closed]
        return bool(backlogs) and min(backlogs) > HIGH_WATER

    def _drained(self) -> None:
        if self._is_full():
            return
        unanswered, self._unanswered = self._unanswered, []
        for msg in unanswered:
            self._shell.flux.respond(msg)

    def _count(self, chunk: Chunk) -> None:
        self._room -= len(chunk.data)
        if self._room < 0:
            limit = self._shell.options["input"]["limit"]
            self._shell.die(f"stdin exceeds {limit} limit. Try file input (flux submit --input=FILE)")

    def _record(self, chunk: Chunk) -> None:
        if self._shell.journal is not None:
            self._shell.journal.append("input", "data", encode_io(chunk.stream, chunk.rank, chunk.data, chunk.eof))

    def _pass_on(self, chunk: Chunk, payload: Any, ranks: IDset | None) -> None:
        for shell_rank in self._shell.others():
            if ranks is None or not ranks.isdisjoint(IDset(self._shell.job.task_ranks(shell_rank))):
                self._shell.send(shell_rank, "stdin", payload)

    def _feed(self, chunk: Chunk) -> None:
        ranks = _ranks(chunk.rank)
        for rank, writer in self._writers.items():
            if ranks is None or rank in ranks:
                writer.write(chunk.data, chunk.eof)


def _checked_limit(asked: object) -> int:
    try:
        size = asked if isinstance(asked, int) else parse_size(str(asked))
    except ValueError as exc:
        raise ValueError(f"Invalid KVS input.limit={asked}: {exc}") from None
    if size <= 0:
        raise ValueError(f"Invalid KVS input.limit={asked}: it must be above 0")
    return size


def _ranks(text: str) -> IDset | None:
    """Task ranks of an idset; None for all."""
    try:
        return None if text == "all" else IDset(text)
    except ValueError as exc:
        raise FluxError(errno.EPROTO, f"rank: {exc}") from None
