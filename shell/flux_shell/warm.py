"""The warm parent of job shells: everything a shell needs is imported here once, and each shell is a fork of it.

It has no thread, no event loop, no connection and no open file but its socket. Whoever owns the other end asks for a
shell with {seq, argv, set, unset, cwd, brief} and three descriptors, hears {seq, pid} from that shell or {seq, errno,
text}, and {seq, pid, status} when it has ended. Set and unset are what the shell's environment has otherwise than this
process's, brief is what it need not ask for (`flux_shell.main`). Messages are JSON after a 4-byte big-endian length.
It ends with its owner. Shells keep its socket, and no task does: when it has died, they say themselves what they end
with.
When other code is installed than it has imported, it executes itself anew; its shells stay its children.
"""

from __future__ import annotations

import array
import errno
import gc
import os
import select
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from flux_shell.freshness import ImportedCode

if TYPE_CHECKING:
    from flux.hooks.host import PluginHost

__all__ = ["preload", "serve"]

_LENGTH = 4
_RIGHTS_SPACE = socket.CMSG_SPACE(3 * array.array("i").itemsize)


_SHELLS = "FLUX_SHELL_WARM_CHILDREN"  # process ids of its shells, for the parent that it executes in its own place
_PAUSE = 500  # milliseconds without a shell or a request, after which there is time to rehearse
_HASTE = 16  # shells forked without such a pause, after which the others wait until it has rehearsed: it soon pays
_GC_THRESHOLD = (20_000, 20, 50)  # a collection touches, and so copies, what the shell shares with its parent


def serve(sock: socket.socket) -> None:
    """Fork shells on request until the other end of the socket is closed."""
    _detach(sock)
    _take_name("flux-shell-warm")
    try:
        WarmParent(sock).run()
    except ConnectionError:
        return  # the owner has died: there is nobody to serve


def preload() -> PluginHost:
    """Get ready to fork many shells: import all that a shell uses, and rehearse a job."""
    from flux_shell import main
    from flux_shell.rehearsal import rehearse

    plugins = main.preload()
    if status := rehearse():
        sys.stderr.write(f"flux-shell: WARN: the rehearsal of a job ended with {status}: shells may start slowly\n")
    gc.freeze()
    return plugins


def load() -> PluginHost:
    """Import all that a shell uses, and keep the garbage collector from touching (and so copying) it in each fork."""
    from flux_shell import main

    plugins = main.preload()
    gc.collect()
    gc.freeze()
    return plugins


def _detach(sock: socket.socket) -> None:
    """Leave the owner's process group, signals and descriptors."""
    os.setpgid(0, 0)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(signum, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    sock.set_inheritable(False)
    _close_all_but(sock.fileno())


def _close_all_but(keep: int) -> None:
    os.closerange(3, keep)
    os.closerange(keep + 1, _open_max())


def _source() -> bytes:
    """The text of this file."""
    with open(__file__, "rb") as file:
        return file.read()


def _open_max() -> int:
    return os.sysconf("SC_OPEN_MAX")


class WarmParent:
    """State of the parent: its socket, and for each shell that runs a pidfd, with its pid and the request's number."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._children: dict[int, tuple[int, int]] = {}
        for child in os.environ.pop(_SHELLS, "").split():
            pid, _, seq = child.partition(":")
            self._watch(int(pid), int(seq))
        self._code: ImportedCode | None = None
        self._source = _source()
        self._plugins: PluginHost | None = None
        self._is_hasty = False
        """True while it serves without having rehearsed: its first request was for a shell."""
        self._forked = 0

    def run(self) -> None:
        while True:
            if self._is_hasty and self._may_rehearse():
                self._is_hasty = False
                self._plugins = preload()
            for fd, _events in self._poll.poll():
                if fd in self._children:
                    self._collect(fd)
                    continue
                if self._code is not None and self._code.is_outdated() and self._can_renew():
                    self._renew()
                if not self._request():
                    return

    def _may_rehearse(self) -> bool:
        """It has forked enough to do so whatever comes; or there is a pause, in which it disturbs no job here."""
        return self._forked >= _HASTE or not (self._children or self._poll.poll(_PAUSE))

    def _can_renew(self) -> bool:
        """True when what is installed now can be imported and still knows what this owner says; else the present code
        has to do until that changes again, or until the owner is started anew."""
        if _source() != self._source:
            return False
        script = "from flux_shell.main import preload; preload()"
        pid = os.posix_spawn(sys.executable, [sys.executable, "-P", "-c", script], os.environ)
        return not os.waitpid(pid, 0)[1]

    def _renew(self) -> NoReturn:
        """Start again with the code that is installed now; no part of a request has been read."""
        os.environ[_SHELLS] = " ".join(f"{pid}:{seq}" for pid, seq in self._children.values())
        self._sock.set_inheritable(True)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])

    def _watch(self, pid: int, seq: int) -> None:
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = pid, seq
        self._poll.register(pidfd, select.POLLIN)

    def _collect(self, pidfd: int) -> None:
        pid, seq = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        self._answer({"seq": seq, "pid": pid, "status": os.waitpid(pid, 0)[1]})

    def _request(self) -> bool:
        """Serve one request; False when the owner is gone."""
        head, control, _flags, _address = self._sock.recvmsg(_LENGTH, _RIGHTS_SPACE)
        if not head:
            return False
        fds = _received_fds(control)
        head += self._read(_LENGTH - len(head))
        body = self._read(int.from_bytes(head, "big"))
        request = msgspec.json.decode(body)
        if self._plugins is None:
            self._is_hasty = "seq" in request
            self._plugins = load() if self._is_hasty else preload()
            self._code = ImportedCode()
        if "seq" in request:
            self._serve(request, fds)
        for fd in fds:
            os.close(fd)
        return True

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = self._sock.recv(size - len(data))
            if not chunk:
                raise ConnectionResetError(errno.ECONNRESET, "the owner closed the socket within a request")
            data += chunk
        return data

    def _serve(self, request: dict[str, Any], fds: list[int]) -> None:
        seq = request["seq"]
        cwd = request["cwd"]
        if cwd is not None and not os.path.isdir(cwd):
            self._answer({"seq": seq, "errno": errno.ENOENT, "text": f"{cwd}: {os.strerror(errno.ENOENT)}"})
            return
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as exc:
            self._answer({"seq": seq, "errno": exc.errno, "text": exc.strerror})
            return
        if not pid:
            self._become_shell(request, fds, parent)
        self._forked += 1
        self._watch(pid, seq)

    def _become_shell(self, request: dict[str, Any], fds: list[int], parent: int) -> NoReturn:
        """In the child: run the shell, and exit with its status."""
        code = 1
        try:
            if os.getppid() != parent:  # it has died: another one is asked for this shell, of which nobody knows yet
                return
            self._answer({"seq": request["seq"], "pid": os.getpid()})
            code = _run_shell(request, fds, self._sock, self._plugins)
            if os.getppid() != parent:  # which would have told it
                self._answer({"seq": request["seq"], "pid": os.getpid(), "status": code << 8})
        finally:
            os._exit(code)

    def _answer(self, answer: dict[str, Any]) -> None:
        body = msgspec.json.encode(answer)
        self._sock.sendall(len(body).to_bytes(_LENGTH, "big") + body)


def _received_fds(control: list[tuple[int, int, bytes]]) -> list[int]:
    fds = array.array("i")
    for level, kind, data in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return list(fds)


def _run_shell(request: dict[str, Any], fds: list[int], sock: socket.socket, plugins: PluginHost | None) -> int:
    """Take on the requested identity and run the shell; gives its exit code."""
    code = 1
    try:
        _take_on(request, fds, sock)
        from flux_shell.main import main

        code = main(request["argv"][1:], plugins, request["brief"])
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    except BaseException:
        import traceback  # costs each fork the modules that it needs

        traceback.print_exc()
    finally:
        _flush()
    return code & 0xFF


def _take_on(request: dict[str, Any], fds: list[int], sock: socket.socket) -> None:
    os.setsid()
    for target, fd in enumerate(fds):
        os.dup2(fd, target)
    _close_all_but(sock.fileno())
    for name in request["unset"]:
        os.environ.pop(name, None)
    os.environ.update(request["set"])
    if request["cwd"] is not None:
        os.chdir(request["cwd"])
    sys.argv = list(request["argv"])
    if "random" in sys.modules:
        sys.modules["random"].seed()
    _take_name(os.path.basename(sys.argv[0]))
    gc.set_threshold(*_GC_THRESHOLD)
    gc.enable()


def _take_name(name: str) -> None:
    fd = os.open("/proc/self/comm", os.O_WRONLY)
    try:
        os.write(fd, name.encode()[:15])
    finally:
        os.close(fd)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue  # whoever read it is gone
