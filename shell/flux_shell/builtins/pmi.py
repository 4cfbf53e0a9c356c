"""PMI-1 for tasks, over a socket pair each (RFC 13); shell option pmi=off leaves it out."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import msgspec

from flux.core.reactor import FLUX_POLLIN
from flux.core.steady import SteadyRPC
from flux.errors import FluxError
from flux.future import Future
from flux.hooks.shell import DEFERRED, hookimpl
from flux.job import fluid
from flux.message import Message
from flux.pmi.server import Abort, PMIServer, Reply

if TYPE_CHECKING:
    from flux_shell.shell import Shell
    from flux_shell.task import Task

__all__ = ["Pmi"]

LOG_WARNING = 4
_VALUE_MAX = 1024
_LINE_MAX = 65536


class Pmi:
    """The shell's PMI server: serves local tasks, exchanges with the other shells at each barrier."""

    def __init__(self) -> None:
        self._sockets: dict[int, socket.socket] = {}
        self._partial: dict[int, bytes] = {}
        self._server: PMIServer | None = None
        self._gathered: dict[str, str] = {}
        self._waiting: dict[int, Message] = {}
        self._last: dict[str, str] = {}
        self._arrived = self._round = 0

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        self._shell = shell
        self._off = shell.options.get("pmi") in ("off", "none")
        if shell.rank == 0 and shell.size > 1:
            shell.on_request("pmi-exchange", self._exchange)

    @hookimpl
    def task_init(self, shell: Shell, task: Task) -> None:
        if self._off:
            return
        ours, theirs = socket.socketpair()
        fd = theirs.detach()
        task.pass_fd(fd)
        task.env |= {"PMI_FD": str(fd), "PMI_RANK": str(task.rank), "PMI_SIZE": str(shell.job.ntasks)}
        ours.setblocking(False)
        self._sockets[task.rank] = ours
        shell.reactor.add_fd(ours.fileno(), FLUX_POLLIN, lambda _events, rank=task.rank: self._readable(rank))  # type: ignore[misc]

    # -- lines

    def _readable(self, rank: int) -> None:
        try:
            data = self._sockets[rank].recv(4096)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            self._close(rank)
            return
        *lines, self._partial[rank] = (self._partial.get(rank, b"") + data).split(b"\n")
        for line in lines:
            self._reply(self._pmi().on_line(rank, line))
        if len(self._partial[rank]) > _LINE_MAX:
            self._shell.log(LOG_WARNING, f"task {rank} sent a line of more than {_LINE_MAX} bytes", "pmi")
            self._close(rank)
        self._contribute()

    def _reply(self, replies: list[Reply]) -> None:
        for rank, line in replies:
            sock = self._sockets.get(rank)
            if sock is None:
                continue
            try:
                sock.sendall(line.encode("utf-8", "surrogateescape"))
            except OSError as exc:
                self._shell.log(LOG_WARNING, f"task {rank} does not read its PMI answers: {exc.strerror}", "pmi")
                self._close(rank)

    def _close(self, rank: int) -> None:
        sock = self._sockets.pop(rank, None)
        if sock is None:
            return
        self._shell.reactor.remove_fd(sock.fileno())
        sock.close()
        if self._server is not None:
            self._reply(self._server.on_disconnect(rank))

    @hookimpl
    def shell_exit(self) -> None:
        for rank in list(self._sockets):
            self._close(rank)

    # -- the server, made when a task first speaks

    def _pmi(self) -> PMIServer:
        if self._server is None:
            job = self._shell.job
            self._server = PMIServer(
                job.ntasks,
                fluid.encode(job.id, "f58"),
                self._preput(),
                ranks=job.task_ranks(self._shell.rank),
                vallen_max=_VALUE_MAX,
                on_abort=self._abort,
                on_error=lambda rank, text: self._shell.log(LOG_WARNING, f"task {rank}: {text}", "pmi"),
            )
        return self._server

    def _preput(self) -> dict[str, str]:
        taskmap = self._shell.job.taskmap
        preput = {
            "PMI_process_mapping": taskmap.pmi(_VALUE_MAX - 1),
            "flux.taskmap": msgspec.json.encode(taskmap.wrap()).decode(),
            "flux.instance-level": str(int(self._attribute("instance-level") or 0) + 1),
        }
        hint = self._attribute("tbon.interface-hint")
        return preput | {"flux.tbon-interface-hint": hint} if hint else preput

    def _attribute(self, name: str) -> str:
        if self._shell.standalone:
            return ""
        try:
            return str(self._shell.flux.attr_get(name))
        except FileNotFoundError:
            return ""

    def _abort(self, abort: Abort) -> None:
        text = f"MPI_Abort: {abort.message}" if abort.message else "MPI_Abort"
        self._shell.die(f"task {abort.rank}: {text}", abort.exitcode & 0xFF or 1)

    # -- exchange at barriers

    def _contribute(self) -> None:
        entries = self._server.take_exchange() if self._server is not None else None
        if entries is None:
            return
        if self._shell.rank == 0:
            self._gather(entries)
        else:
            request = {"entries": entries, "round": self._round, "shell_rank": self._shell.rank}
            self._round += 1
            SteadyRPC(self._shell.flux, lambda: self._shell.rpc(0, "pmi-exchange", request)).then(self._exchanged)

    def _exchange(self, msg: Message) -> object:
        """Another shell has got to a barrier; it says so again when the answer, or the request, was lost."""
        request = msg.payload
        if request["round"] < self._round:
            return {"entries": self._last}
        is_new = request["shell_rank"] not in self._waiting
        self._waiting[request["shell_rank"]] = msg
        if is_new:
            self._gather(request["entries"])
        return DEFERRED

    def _gather(self, entries: dict[str, str]) -> None:
        self._gathered.update(entries)
        self._arrived += 1
        if self._arrived < self._shell.size:
            return
        gathered, waiting = self._gathered, self._waiting
        self._gathered, self._waiting, self._arrived = {}, {}, 0
        self._last = gathered
        self._round += 1
        for msg in waiting.values():
            self._shell.flux.respond(msg, {"entries": gathered})
        self._reply(self._pmi().complete_exchange(gathered))

    def _exchanged(self, future: Future) -> None:
        try:
            entries, error = future.get()["entries"], ""
        except FluxError as exc:
            entries, error = {}, f"exchange with the other shells: {exc}"
        self._reply(self._pmi().complete_exchange(entries, error))

    @hookimpl
    def shell_lost(self, shell_rank: int) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, {}
            for msg in waiting.values():
                self._shell.flux.respond_error(msg, 5, f"shell {shell_rank} is lost")
