"""`ssh://[USER@]HOST[:PORT]/PATH`: a broker's socket on another host, reached by `flux relay` over ssh.

FLUX_SSH names the ssh to use, FLUX_SSH_RCMD the `flux` to run there. Without it the one is run that the broker has put
a link to beside its socket.
"""

from __future__ import annotations

import errno
import os
import shlex
import socket
import subprocess
import sys
from typing import NamedTuple

from flux.errors import FluxError

__all__ = ["Target", "connect"]

_PATIENCE = 5.0  # seconds that ssh has to end once the connection is closed


class Target(NamedTuple):
    """The parts of a URI behind its scheme. user may be part of host; port is "" for ssh's own."""

    host: str
    port: str
    path: str

    @classmethod
    def parse(cls, text: str) -> Target:
        """Take HOST[:PORT]/PATH apart. FluxError EINVAL."""
        place, slash, path = text.partition("?")[0].partition("/")
        host, _, port = place.partition(":")
        if not slash or not host or host.startswith("-") or (port and not port.isdecimal()):
            raise FluxError(errno.EINVAL, f"ssh://{text}: it should look like ssh://user@host:port/path/to/socket")
        return cls(host, port, f"/{path}")

    def command(self) -> list[str]:
        """The words that run `flux relay` there."""
        ssh = shlex.split(os.environ.get("FLUX_SSH", "ssh"))
        port = ["-p", self.port] if self.port else []
        return [*ssh, *port, self.host, *_remote_flux(self.path), "relay", shlex.quote(self.path)]


def _remote_flux(path: str) -> list[str]:
    named = os.environ.get("FLUX_SSH_RCMD")
    if named:
        return shlex.split(named)
    folders = [os.path.join(os.path.dirname(path), "bin"), os.path.dirname(sys.executable), "/bin", "/usr/bin"]
    return ["env", shlex.quote(f"PATH={':'.join(folders)}"), "flux"]


class _RelaySocket(socket.socket):
    """One end of a socket pair whose other end is an ssh; closing it ends that."""

    process: subprocess.Popen[bytes]

    def close(self) -> None:
        super().close()
        try:
            self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def connect(rest: str) -> socket.socket:
    """A socket on which the broker at the other end greets, for what follows `ssh://`.

    Raises:
        FluxError: EINVAL for a bad URI, ENOENT when there is no ssh.
    """
    command = Target.parse(rest).command()
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            process = subprocess.Popen(command, stdin=theirs, stdout=theirs)
        except OSError as exc:
            ours.close()
            raise FluxError(exc.errno or errno.EIO, f"ssh://{rest}: {command[0]}: {exc.strerror}") from None
    relay = _RelaySocket(fileno=ours.detach())
    relay.process = process
    return relay
