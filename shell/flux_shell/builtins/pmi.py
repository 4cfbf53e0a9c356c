"""PMI-1 for tasks, over a socket pair each (RFC 13); shell options pmi and pmi-simple."""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from flux.constants import FLUX_POLLIN
from flux.hooks.shell import hookimpl
from flux.job import fluid
from flux.pmi.server import Abort, PMIServer, Reply
from flux_shell.builtins.pmi_exchange import Exchange
from flux_shell.option_names import object_of
from flux_shell.taskio import aside

if TYPE_CHECKING:
    from flux_shell.shell import Shell
    from flux_shell.task import Task

__all__ = ["Pmi"]

LOG_WARNING, LOG_DEBUG = 4, 6
_VALUE_MAX = 1024
_LINE_MAX = 65536
_KEYS = ("exchange", "nomap", "kvs")
_EXAMPLE = "pmi-simple.exchange.k=16"
_SIMPLE = {"simple", "pmi1", "pmi2"}
_FANOUT = 16
"""Children of a shell in the exchange tree: few hops cost less than few messages."""


class Wish(NamedTuple):
    """What the options ask for. fanout: of the exchange. mapped: tell tasks on which nodes the others are."""

    enabled: bool = True
    fanout: int = _FANOUT
    mapped: bool = True


def _wish(options: dict[str, Any]) -> Wish:
    """ValueError when the options are none of pmi's. `pmi` is a list of implementations, or the table pmi-simple."""
    asked = options.get("pmi", "simple")
    table = object_of("pmi-simple", options.get("pmi-simple"), _EXAMPLE, _KEYS)
    if isinstance(asked, dict):
        asked, table = "simple", {**object_of("pmi", asked, _EXAMPLE, _KEYS), **table}
    if not isinstance(asked, str):
        raise ValueError(f"shell option pmi={asked}: a list was expected, such as simple or off")
    if table.get("kvs", "exchange") not in ("exchange", "native"):
        raise ValueError(f"shell option pmi-simple.kvs={table['kvs']}: exchange was expected")
    return Wish(not _SIMPLE.isdisjoint(asked.split(",")), _fanout(table), not table.get("nomap"))


def _fanout(table: dict[str, Any]) -> int:
    exchange = table.get("exchange", {})
    if isinstance(exchange, dict):
        k = object_of("pmi-simple.exchange", exchange, _EXAMPLE, ("k",)).get("k", _FANOUT)
    else:
        k = exchange
    if type(k) is not int or k < 0:
        raise ValueError(f"shell option pmi-simple.exchange.k={k}: a number above 0 was expected")
    return k or _FANOUT


class Pmi:
    """The shell's PMI server: serves local tasks, exchanges with the other shells at each barrier."""

    def __init__(self) -> None:
        self._sockets: dict[int, socket.socket] = {}
        self._partial: dict[int, bytes] = {}
        self._server: PMIServer | None = None
        self._exchange: Exchange | None = None

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        self._shell = shell
        self._wish = _wish(shell.options)
        if self._wish.enabled and not shell.standalone:
            self._exchange = Exchange(shell, self._wish.fanout, self._exchanged)

    @hookimpl
    def task_init(self, shell: Shell, task: Task) -> None:
        if not self._wish.enabled:
            return
        ours, theirs = socket.socketpair()
        fd = theirs.detach()
        task.pass_fd(fd)
        task.env |= {"PMI_FD": str(fd), "PMI_RANK": str(task.rank), "PMI_SIZE": str(shell.job.ntasks)}
        ours = socket.socket(ours.family, ours.type, ours.proto, aside(ours.detach()))
        ours.setblocking(False)
        self._sockets[task.rank] = ours
        shell.reactor.add_fd(ours.fileno(), FLUX_POLLIN, partial(self._readable, task.rank, ours))

    # -- lines

    def _readable(self, rank: int, sock: socket.socket, _events: int) -> None:
        try:
            data = sock.recv(4096)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            self._close(rank)
            return
        server = self._server or self._serve()
        *lines, rest = (self._partial.pop(rank, b"") + data).split(b"\n")
        for line in lines:
            self._reply(server.on_line(rank, line))
        if rest:
            self._keep(rank, rest)
        entries = server.take_exchange()
        if entries is not None and self._exchange is not None:
            self._exchange.enter(entries)

    def _keep(self, rank: int, rest: bytes) -> None:
        self._partial[rank] = rest
        if len(rest) > _LINE_MAX:
            self._shell.log(LOG_WARNING, f"task {rank} sent a line of more than {_LINE_MAX} bytes", "pmi")
            self._close(rank)

    def _reply(self, replies: list[Reply]) -> None:
        for rank, line in replies:
            sock = self._sockets.get(rank)
            if sock is None:
                continue
            try:
                sock.sendall(line.encode("utf-8", "surrogateescape"))
            except (BrokenPipeError, ConnectionResetError):
                self._close(rank)  # it has ended, or has closed its end: there is nobody to answer
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

    def _serve(self) -> PMIServer:
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
        preput = {"flux.instance-level": str(int(self._attribute("instance-level") or 0) + 1)}
        hint = self._attribute("tbon.interface-hint")
        if hint:
            preput["flux.tbon-interface-hint"] = hint
        return preput | self._mapping() if self._wish.mapped else preput

    def _mapping(self) -> dict[str, str]:
        """Where tasks are; empty, which stands for unknown, or left out where it is too long for a PMI value."""
        taskmap = self._shell.job.taskmap
        text = msgspec.json.encode(taskmap.wrap()).decode()
        mapping = {"PMI_process_mapping": taskmap.pmi(_VALUE_MAX - 1)}
        return mapping | {"flux.taskmap": text} if len(text) < _VALUE_MAX else mapping

    def _attribute(self, name: str) -> str:
        if self._shell.standalone:
            return ""
        try:
            return str(self._shell.flux.attr_get(name))
        except FileNotFoundError:
            return ""

    def _abort(self, abort: Abort) -> None:
        text = f"PMI_Abort: {abort.message}" if abort.message else "PMI_Abort"
        self._shell.die(f"task {abort.rank}: {text}", abort.exitcode & 0xFF or 1)

    # -- exchange at barriers

    def _exchanged(self, entries: dict[str, str], error: str) -> None:
        if self._server is not None:
            self._reply(self._server.complete_exchange(entries, error))

    @hookimpl
    def shell_lost(self, shell_rank: int) -> None:
        if self._exchange is not None:
            self._exchange.lost(shell_rank)
