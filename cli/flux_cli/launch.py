"""Brokers on this host, forked from one warm parent that serves them PMI and waits for them (flux-start(1) -s)."""

from __future__ import annotations

import argparse
import errno
import gc
import json
import math
import os
import select
import shlex
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from flux.errors import FluxError
from flux.pmi.server import PMIServer
from flux.util import parse_fsd
from flux_cli.broker import ERROR_FD, BrokerUsageError, broker_command, raise_open_files, report_through
from flux_cli.rundir import Rundir
from flux_cli.start_control import ControlSocket

__all__ = ["launch"]

_ABORT_GRACE = 2.0  # seconds for brokers whose peer gave up while they were starting
_TERM_GRACE = 10.0  # seconds between SIGTERM and SIGKILL
_CONSEQUENCES = (errno.EHOSTUNREACH, errno.EPERM, errno.ETIMEDOUT, errno.ECONNRESET, errno.EIO)
"""Errors that say nothing new once another broker has failed: its peers have lost it."""


class _Member:
    """One broker: its process, and our end of its PMI connection."""

    def __init__(self, rank: int, pid: int, sock: socket.socket) -> None:
        self.rank = rank
        self.pid = pid
        self.sock = sock
        self.pidfd = os.pidfd_open(pid)
        self.buffer = b""
        self.exit_code: int | None = None
        self.ended = False  # by us, because another has gone
        self.on_exit: list[Callable[[int], None]] = []


def launch(args: argparse.Namespace, options: Any) -> int:
    """Start args.test_size brokers and wait for all of them; gives the exit code of the instance."""
    from flux_kernel.composition import CompositionError, load_composition

    try:
        composition = load_composition(args.plugins, args.config_path)
        composition.plugins()
    except CompositionError as exc:
        raise BrokerUsageError(str(exc)) from None
    _choose_bootstrap(args, options)
    wrap = broker_command(args)[0]
    if shutil.which(wrap) is None:
        raise BrokerUsageError(f"--wrap: there is no command {wrap}")
    ranks = range(1 if args.test_start_mode == "leader" else args.test_size)
    if args.verbose:
        for rank in ranks:
            print(f"flux-start: {rank}: {shlex.join(broker_command(args))}", file=sys.stderr)
    if args.noexec:
        return 0
    args.rundir = args.rundir or options.attrs.get("rundir")
    raise_open_files()
    with Rundir(args, options.attrs.get("rundir-cleanup", "")) as rundir:
        # the end of one broker is not the end of the others: we clean up
        options.attrs.update({"rundir": rundir, "rundir-cleanup": "0"})
        args.setattr += [f"rundir={rundir}", "rundir-cleanup=0"]
        return _Launcher(args, options, composition).run(ranks)


def _choose_bootstrap(args: argparse.Namespace, options: Any) -> None:
    configured = "bootstrap" in options.conf
    if configured and not args.test_hosts and "broker.boot-method" not in options.attrs:
        # this host is not in the configured list N times
        options.attrs["broker.boot-method"] = "pmi"
        args.setattr.append("broker.boot-method=pmi")


class _Launcher:
    """Forks brokers, answers their PMI requests, forwards signals, and ends what is left when one has failed."""

    def __init__(self, args: argparse.Namespace, options: Any, composition: Any) -> None:
        from flux_kernel.broker import preload

        self.args = args
        self.options = options
        self.composition = composition
        self.classes = preload(composition)
        self.size = args.test_size
        self.configured = bool(args.test_hosts) and "bootstrap" in options.conf
        self.pmi = PMIServer(self.size, kvsname="-", preput=_mapping(args), on_abort=self._aborted)
        self.members: dict[int, _Member] = {}
        self.poll = select.poll()
        self.callbacks: dict[int, Callable[[], None]] = {}
        self.errors, self.errors_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.told: set[str] = set()
        self.failed = False
        self.deadline: float | None = None
        self.asked = False
        self.forwarded = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
            self.forwarded.append(signal.SIGHUP)

    def run(self, ranks: range) -> int:
        gc.collect()
        gc.freeze()
        for signum in self.forwarded:
            signal.signal(signum, self._forward)
        self.watch(self.errors, self._read_errors)
        control = self.control = ControlSocket(os.path.join(self.options.attrs["rundir"], "start"), self)
        os.environ["FLUX_START_URI"] = f"local://{control.path}"
        try:
            for rank in ranks:
                self._add(rank)
            if len(ranks) < self.size and not self.configured:
                print(f"flux-start: rank 0 waits in PMI for the others: start.run at {control.path}", file=sys.stderr)
            while any(member.exit_code is None for member in self.members.values()):
                self._serve()
        finally:
            control.close()
        return self._exit_code()

    def _add(self, rank: int) -> None:
        member = self.members[rank] = self._fork(rank)
        self.watch(member.sock.fileno(), partial(self._pmi_input, member))
        self.watch(member.pidfd, partial(self._reap, member))

    def watch(self, fd: int, callback: Callable[[], None] | None) -> None:
        """Call back when the descriptor can be read; None: no more."""
        if callback is None:
            del self.callbacks[fd]
            self.poll.unregister(fd)
        else:
            self.callbacks[fd] = callback
            self.poll.register(fd, select.POLLIN)

    # -- for the control socket

    def status(self) -> list[int]:
        """The process id of each broker, -1 where none runs."""
        running = {rank: member.pid for rank, member in self.members.items() if member.exit_code is None}
        return [running.get(rank, -1) for rank in range(self.size)]

    def kill(self, rank: int, signum: int) -> None:
        """Send a signal to a broker. FluxError ESRCH when it does not run, EINVAL for a wrong signal."""
        if not 0 <= signum < signal.NSIG:
            raise FluxError(errno.EINVAL, f"there is no signal {signum}")
        if self.status()[self._checked(rank)] < 0:
            raise FluxError(errno.ESRCH, f"broker {rank} does not run")
        os.kill(self.members[rank].pid, signum)

    def start(self, rank: int) -> None:
        """Start a broker that does not run. FluxError EEXIST when it does, ENOTSUP when PMI has served it already."""
        if self.status()[self._checked(rank)] >= 0:
            raise FluxError(errno.EEXIST, f"broker {rank} runs already")
        if rank in self.members and not self.configured:
            raise FluxError(errno.ENOTSUP, "PMI serves a broker once: starting one again needs --test-hosts")
        self._add(rank)

    def when_ended(self, rank: int, callback: Callable[[int], None]) -> None:
        """Call back with the exit code, at once when the broker has ended. FluxError ENOENT when it never ran."""
        member = self.members.get(self._checked(rank))
        if member is None:
            raise FluxError(errno.ENOENT, f"broker {rank} was not started")
        if member.exit_code is None:
            member.on_exit.append(callback)
        else:
            callback(member.exit_code)

    def _checked(self, rank: int) -> int:
        if not 0 <= rank < self.size:
            raise FluxError(errno.EINVAL, f"there is no broker {rank}: ranks are 0 to {self.size - 1}")
        return rank

    # -- brokers

    def _fork(self, rank: int) -> _Member:
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            theirs.close()
            return _Member(rank, pid, ours)
        code = 1
        try:
            ours.close()
            code = self._child(rank, theirs)
        except KeyboardInterrupt:
            code = 130
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _child(self, rank: int, sock: socket.socket) -> int:
        from flux_kernel.broker import Broker

        for member in self.members.values():
            if member.exit_code is None:
                member.sock.close()
                os.close(member.pidfd)
        os.close(self.errors)
        self.control.close_in_child()
        for signum in self.forwarded:
            signal.signal(signum, signal.SIG_DFL)
        _end_with_parent()
        if rank > 0:
            os.setpgid(0, 0)
        if self.args.test_hosts:
            os.environ["FLUX_FAKE_HOSTNAME"] = self.args.test_hosts[rank]
        environ = {**os.environ, "PMI_FD": str(sock.fileno()), "PMI_RANK": str(rank), "PMI_SIZE": str(self.size)}
        if self.args.wrap:
            os.set_inheritable(self.errors_end, True)
            environ[ERROR_FD] = str(self.errors_end)
            return _execute(broker_command(self.args), sock, environ)
        sock.detach()
        broker = Broker(self.composition, self.options, self.classes, environ)
        broker.report_error = partial(self._report_error, rank)
        return broker.run()

    def _report_error(self, rank: int, error: FluxError) -> None:
        """In a broker: let flux start tell what was wrong, once for all of them."""
        report_through(self.errors_end, error, rank)

    def _read_errors(self) -> None:
        try:
            lines = os.read(self.errors, 1 << 20).splitlines()
        except BlockingIOError:
            return
        for error in map(json.loads, lines):
            consequence = bool(self.told) and error["errno"] in _CONSEQUENCES
            if error["text"] not in self.told and not consequence:
                print(f"flux-broker: rank {error['rank']}: {error['text']}", file=sys.stderr)
                self.told.add(error["text"])

    def _serve(self) -> None:
        timeout = None if self.deadline is None else max(0, self.deadline - time.monotonic()) * 1000
        for fd, _events in self.poll.poll(timeout):
            callback = self.callbacks.get(fd)
            if callback is not None:
                callback()
        if self.deadline is not None and time.monotonic() >= self.deadline:
            self._end_rest()

    def _pmi_input(self, member: _Member) -> None:
        try:
            data = member.sock.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            self.watch(member.sock.fileno(), None)
            member.sock.close()
            self._send(self.pmi.on_disconnect(member.rank))
            return
        *lines, member.buffer = (member.buffer + data).split(b"\n")
        for line in lines:
            text = line.decode(errors="replace")
            self._trace(member.rank, "C", text)
            self._send(self.pmi.on_line(member.rank, text))

    def _send(self, replies: list[tuple[int, str]]) -> None:
        for rank, reply in replies:
            self._trace(rank, "S", reply)
            self._reply(self.members[rank], reply)

    def _reply(self, member: _Member, reply: str) -> None:
        try:
            member.sock.sendall(reply.encode())
        except OSError:
            self._trace(member.rank, "S", "connection is closed")

    def _aborted(self, _abort: Any) -> None:
        # the broker has told why
        self._end_rest_in(_ABORT_GRACE)

    def _trace(self, rank: int, side: str, text: str) -> None:
        if self.args.verbose >= 2:
            print(f"flux-start: {rank}: {side}: pmi {text.strip()}", file=sys.stderr)

    def _reap(self, member: _Member) -> None:
        self._read_errors()
        self.watch(member.pidfd, None)
        os.close(member.pidfd)
        _pid, status = os.waitpid(member.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        member.exit_code = 128 - code if code < 0 else code
        if code:
            how = f"was killed by signal {-code}" if code < 0 else f"exited with rc={code}"
            if member.rank == 0 or code < 0 or not self.failed:
                print(f"flux-start: {member.rank} (pid {member.pid}) {how}", file=sys.stderr)
            self.failed = True
        for callback in member.on_exit:
            callback(member.exit_code)
        counts = self.args.test_exit_mode == "any" or member.rank == 0
        if counts and len(self.members) > 1:
            self._end_rest_in(parse_fsd(self.args.test_exit_timeout))

    def _end_rest_in(self, seconds: float) -> None:
        if self.deadline is None and seconds < math.inf:
            self.deadline = time.monotonic() + seconds

    def _end_rest(self) -> None:
        """Brokers that are left when one has gone: asked to end first, so that they take their children along."""
        signum = signal.SIGKILL if self.asked else signal.SIGTERM
        for member in self.members.values():
            if member.exit_code is None:
                print(f"flux-start: ending broker {member.rank} (pid {member.pid}): {signum.name}", file=sys.stderr)
                member.ended = True
                os.kill(member.pid, signum)
        self.deadline = None if self.asked else time.monotonic() + _TERM_GRACE
        self.asked = True

    def _forward(self, signum: int, _frame: object) -> None:
        if 0 in self.members and self.members[0].exit_code is None:
            os.kill(self.members[0].pid, signal.SIGTERM if signum == signal.SIGHUP else signum)

    def _exit_code(self) -> int:
        if self.args.test_exit_mode == "leader":
            return self.members[0].exit_code or 0
        by_themselves = [member.exit_code or 0 for member in self.members.values() if not member.ended]
        return max(by_themselves) or max(member.exit_code or 0 for member in self.members.values())


def _execute(words: list[str], sock: socket.socket, environ: dict[str, str]) -> int:
    """Become a broker run under another command (--wrap)."""
    sock.set_inheritable(True)
    try:
        os.execvpe(words[0], words, environ)
    except OSError as exc:
        print(f"flux-start: --wrap: {words[0]}: {exc.strerror}", file=sys.stderr)
    return 127


def _end_with_parent() -> None:
    """Get SIGTERM when flux start dies without having told its brokers (prctl(2) PR_SET_PDEATHSIG)."""
    import ctypes

    ctypes.CDLL(None).prctl(1, int(signal.SIGTERM))


def _mapping(args: argparse.Namespace) -> dict[str, str]:
    """What brokers are told of who shares a node: those of one name, where names were given and nothing else."""
    clique, size = args.test_pmi_clique, args.test_size
    if clique == "none":
        return {}
    if clique is None and args.test_hosts:
        return {"PMI_process_mapping": _mapping_of_hosts(args.test_hosts)}
    if clique not in (None, "single", "per-broker"):
        return {"PMI_process_mapping": _checked_mapping(clique, size)}
    blocks = f"(0,{size},1)" if clique == "per-broker" else f"(0,1,{size})"
    return {"PMI_process_mapping": f"(vector,{blocks})"}


def _mapping_of_hosts(hosts: list[str]) -> str:
    from flux.idset import IDset
    from flux.taskmap import TaskMap

    nodes: dict[str, IDset] = {}
    for rank, host in enumerate(hosts):
        nodes.setdefault(host, IDset()).set(rank)
    return TaskMap.from_idsets([*nodes.values()]).pmi()


def _checked_mapping(text: str, size: int) -> str:
    from flux.taskmap import decode

    try:
        taskmap = decode(text)
        if taskmap.ntasks() != size:
            raise ValueError(f"it maps {taskmap.ntasks()} of {size} brokers")
        return taskmap.pmi()
    except ValueError as exc:
        raise BrokerUsageError(f"--test-pmi-clique={text}: neither single, per-broker, none nor a map: {exc}") from None
