"""One task: its program, environment, descriptors, process and end."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

from flux.errors import FluxError
from flux_shell.taskio import Reader, pipe

if TYPE_CHECKING:
    from flux_shell.face import ShellFace

__all__ = ["STREAMS", "LaunchError", "Task", "find_program"]

STREAMS = {"stdout": 1, "stderr": 2}

_RESET = (signal.SIGPIPE, signal.SIGXFSZ)  # ignored by the interpreter, and so by what it starts


class LaunchError(OSError):
    """A task could not be started. `exitcode` is what a POSIX shell exits with: 127 not found, else 126."""

    @property
    def exitcode(self) -> int:
        return 127 if self.errno == errno.ENOENT else 126


def find_program(name: str, env: Mapping[str, str]) -> str:
    """Path of a program, looked up in env's PATH. LaunchError ENOENT, or EACCES when none may be executed."""
    if "/" in name:
        return name
    found = errno.ENOENT
    for directory in os.get_exec_path(env):
        path = os.path.join(directory or ".", name)
        if os.path.isfile(path):
            if os.access(path, os.X_OK):
                return path
            found = errno.EACCES
    raise LaunchError(found, os.strerror(found), name)


@contextmanager
def _limited(nofile: int | None) -> Iterator[None]:
    """Have a soft limit of open files meanwhile, for what is started to inherit; None for the present one."""
    if nofile is None:
        yield
        return
    present = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, present[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, present)


class Task:
    """A task of this shell, or another process that it starts (contract: `flux.hooks.shell.TaskApi`).

    Args:
        shell: that reads its channels; None for a process on a terminal, which has none.

    Attributes:
        terminal: device that becomes its controlling terminal, stdin, stdout and stderr; "" for none.
    """

    def __init__(self, shell: ShellFace | None, rank: int, localid: int, argv: list[str], env: dict[str, str]) -> None:
        self._shell = shell
        self.rank = rank
        self.localid = localid
        self.argv = argv
        self.env = env
        self.state = "Init"
        self.pid = -1
        self.status = -1
        self.terminal = ""
        self._fds: dict[int, int] = {}
        self._channels: set[str] = set()

    # -- what plugins call

    def info(self) -> dict[str, Any]:
        info: dict[str, Any] = {"localid": self.localid, "rank": self.rank, "state": self.state}
        if self.state != "Init":
            info["pid"] = self.pid
        if self.state == "Exited":
            signaled = os.WTERMSIG(self.status) if os.WIFSIGNALED(self.status) else 0
            info |= {"wait_status": self.status, "signaled": signaled, "exitcode": self.exitcode}
        return info

    def pass_fd(self, fd: int, target: int = -1) -> None:
        if not isinstance(fd, int) or fd < 0 or not isinstance(target, int):
            raise ValueError(f"a file descriptor was expected, not {fd!r} (as {target!r})")
        self._fds[fd if target < 0 else target] = fd

    def channel_subscribe(self, name: str, callback: Callable[[bytes, bool], None], lines: bool = True) -> Reader:
        target = STREAMS.get(name, -1)
        if self.state != "Init" or (self.terminal and target > 0):
            reason = "has a terminal" if self.state == "Init" else "is started already"
            raise FluxError(errno.EINVAL, f"task {self.rank} {reason}: there is no channel {name} to subscribe to")
        if name in self._channels:
            raise FluxError(errno.EEXIST, f"the channel {name} of task {self.rank} has a subscriber already")
        self._channels.add(name)
        read, write = pipe()
        self.pass_fd(write, target)
        if target < 0:
            self.env[name] = str(write)
        shell = self._shell
        assert shell is not None
        shell.add_completion_ref("channel")

        def on_data(data: bytes, eof: bool) -> None:
            callback(data, eof)
            if eof:
                shell.remove_completion_ref("channel")

        return Reader(shell.reactor, read, on_data, lines)

    def kill(self, signum: int) -> None:
        if self.state == "Running":
            try:
                os.killpg(self.pid, signum)
            except ProcessLookupError:
                os.kill(self.pid, signum)  # it shares the shell's process group

    @property
    def exitcode(self) -> int:
        """Exit code as a POSIX shell gives it: 128 plus the signal for one that was killed."""
        code = os.waitstatus_to_exitcode(self.status)
        return code if code >= 0 else 128 - code

    # -- life, driven by the shell

    def start(self, before_exec: Callable[[], None] | None, own_group: bool = True) -> None:
        """Start the program.

        Args:
            before_exec: called in the new process just before execve(2); costs a fork of the shell.
            own_group: give the task a process group of its own.

        Raises:
            LaunchError: it cannot be executed.
        """
        name = self.argv[0] if self.argv and isinstance(self.argv, list) else "?"
        try:
            self._check()
            path = find_program(self.argv[0], self.env)
            if before_exec is None:
                self.pid = self._spawn(path, own_group)
            else:
                self.pid = self._fork(path, own_group, before_exec)
        except LaunchError:
            raise
        except OSError as exc:
            raise LaunchError(exc.errno or errno.EIO, exc.strerror or "", name) from None
        except ValueError as exc:  # as for an environment that has no place in one
            raise LaunchError(errno.EINVAL, str(exc), name) from None
        finally:
            self.close_fds()
        self.state = "Running"

    def _check(self) -> None:
        """What plugins made of it. ValueError."""
        if not isinstance(self.argv, list) or not self.argv or not all(isinstance(word, str) for word in self.argv):
            raise ValueError(f"argv is a list of strings, at least one, not {self.argv!r}")
        if not isinstance(self.env, dict):
            raise ValueError(f"env is a dictionary of strings, not {self.env!r}")
        for name, value in self.env.items():
            if not (isinstance(name, str) and isinstance(value, str)):
                raise ValueError(f"env is a dictionary of strings, and {name!r} is {value!r}")

    def exited(self, status: int) -> None:
        self.status = status
        self.state = "Exited"

    def close_fds(self) -> None:
        """Close the shell's copies of what the task inherits."""
        for fd in set(self._fds.values()):
            with suppress(OSError):  # one that was not open has kept the task from being started
                os.close(fd)
        self._fds.clear()

    def _spawn(self, path: str, own_group: bool) -> int:
        group: dict[str, Any] = {"setpgroup": 0} if own_group else {}
        if self.terminal:
            group = {"setsid": True}
        actions = self._file_actions()
        for fd in self._kept():
            os.set_inheritable(fd, True)
        options: dict[str, Any] = {"file_actions": actions, "setsigmask": (), "setsigdef": _RESET, **group}
        with _limited(self._nofile):
            try:
                return os.posix_spawn(path, self.argv, self.env, **options)
            except OSError as exc:
                if exc.errno != errno.ENOEXEC:
                    raise
                return os.posix_spawn("/bin/sh", ["sh", path, *self.argv[1:]], self.env, **options)

    @property
    def _nofile(self) -> int | None:
        return None if self._shell is None else self._shell.nofile

    def _file_actions(self) -> list[Any]:
        if self.terminal:  # the leader of a session gets the first terminal that it opens
            copies = [(os.POSIX_SPAWN_DUP2, 0, target) for target in (1, 2)]
            return [(os.POSIX_SPAWN_OPEN, 0, self.terminal, os.O_RDWR, 0), *copies]
        actions: list[Any] = []
        for target in (0, 1, 2):
            if target in self._fds:
                actions.append((os.POSIX_SPAWN_DUP2, self._fds[target], target))
            else:
                actions.append((os.POSIX_SPAWN_OPEN, target, os.devnull, os.O_RDWR, 0))
        return actions

    def _kept(self) -> list[int]:
        return [fd for target, fd in self._fds.items() if target == fd]

    def _fork(self, path: str, own_group: bool, before_exec: Callable[[], None]) -> int:
        read, write = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if not pid:
            self._run_child(path, own_group, before_exec, write)
        os.close(write)
        with os.fdopen(read, "rb") as report:
            failure = report.read()
        if failure:
            os.waitpid(pid, 0)
            code, _, text = failure.decode(errors="replace").partition(":")
            raise LaunchError(int(code), text, self.argv[0])
        return pid

    def _run_child(self, path: str, own_group: bool, before_exec: Callable[[], None], report: int) -> NoReturn:
        try:
            if self.terminal:
                os.setsid()
            elif own_group:
                os.setpgid(0, 0)
            other = os.open(self.terminal or os.devnull, os.O_RDWR)
            for target in (0, 1, 2):
                os.dup2(other if self.terminal else self._fds.get(target, other), target)
            for fd in self._kept():
                os.set_inheritable(fd, True)
            for signum in _RESET:
                signal.signal(signum, signal.SIG_DFL)
            present = resource.getrlimit(resource.RLIMIT_NOFILE)
            before_exec()
            is_set = resource.getrlimit(resource.RLIMIT_NOFILE) != present
            with _limited(None if is_set else self._nofile):  # not before: the shell may have more open than that
                os.execve(path, self.argv, self.env)
        except OSError as exc:
            os.write(report, f"{exc.errno or errno.EIO}:{exc.strerror or exc}".encode())
        except BaseException as exc:
            os.write(report, f"{errno.EINVAL}:{str(exc) or type(exc).__name__}".encode())
        os._exit(127)
