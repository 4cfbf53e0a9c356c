"""A module in its own process, on an RFC 5 channel: spawned, greeted, watched, and buried."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flux.core.stream import SocketLink
from flux.errors import FluxError, as_flux_error
from flux.message import NODEID_ANY, REQUEST, ROLE_LOCAL, ROLE_OWNER, Message

__all__ = ["IsolatedModule"]

_GRACE = 5.0  # seconds between SIGTERM and SIGKILL for a module that does not end


class IsolatedModule:
    """The process of one module.

    Args:
        command: the loader's command line, which speaks RFC 5 on FLUX_MODULE_URI.
        env: environment on top of the broker's.
        deliver: called with each message of the module and its link; the switch's `receive`.
        on_exit: called once when the process has ended, with a line that says how.
    """

    def __init__(
        self,
        uuid: str,
        command: Sequence[str],
        env: Mapping[str, str],
        owner_id: int,
        deliver: Callable[[Message, SocketLink], None],
        on_exit: Callable[[str], None],
    ) -> None:
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self.started: asyncio.Future[None] = self._loop.create_future()
        self.finished = asyncio.Event()
        ours, theirs = socket.socketpair()
        with theirs:
            os.set_inheritable(theirs.fileno(), True)
            env = {**os.environ, **env, "FLUX_MODULE_URI": f"fd://{theirs.fileno()}"}
            self.process = subprocess.Popen(
                command,
                env=env,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        ours.send(b"\0")
        self.link = SocketLink(uuid, owner_id, ROLE_OWNER | ROLE_LOCAL, True, ours, deliver, self._lost)
        self._pidfd = os.pidfd_open(self.process.pid)
        self._loop.add_reader(self._pidfd, self._exited)

    def welcome(self, payload: dict[str, Any]) -> None:
        """Send the welcome request (RFC 5)."""
        self.link.send(Message(REQUEST, "welcome", payload, aux=NODEID_ANY, routes=[], **_OWNER_CRED))

    def shut_down(self, name: str, graceful: bool) -> None:
        """Ask the module to end, after it has answered what it can."""
        payload = {"graceful": True} if graceful else None
        self.link.send(Message(REQUEST, f"{name}.shutdown", payload, aux=NODEID_ANY, routes=[], flags=4, **_OWNER_CRED))

    def report(self, status: int, errnum: int, text: str) -> None:
        """Take a `module.status` request of the module."""
        if status == 1 and not self.started.done():
            self.started.set_result(None)
        elif status == 3 and errnum and not self.started.done():
            self.started.set_exception(FluxError(errnum, text))

    async def end(self, name: str, force: bool, graceful: bool = False) -> None:
        """Let the process end: by its own will, or after a grace time by signal."""
        if force:
            self.process.kill()
        else:
            self.shut_down(name, graceful)
            self._loop.call_later(_GRACE, self._signal, signal.SIGTERM)
            self._loop.call_later(2 * _GRACE, self._signal, signal.SIGKILL)
        await self.finished.wait()

    def _signal(self, signum: int) -> None:
        if not self.finished.is_set():
            self.process.send_signal(signum)

    def _lost(self, _link: SocketLink, error: FluxError) -> None:
        if not self.started.done():
            self.started.set_exception(as_flux_error(error))

    def _exited(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        code = self.process.wait()
        how = f"killed by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"exited with status {code}"
        if not self.started.done():
            self.started.set_exception(FluxError(errno.ECHILD, f"the module's process was {how} before it was ready"))
        self.link.close()
        self.finished.set()
        self._on_exit(f"process {self.process.pid} {how}")


_OWNER_CRED: dict[str, Any] = {"userid": os.getuid(), "rolemask": ROLE_OWNER | ROLE_LOCAL}
