"""`local://` connections: a UNIX stream socket, peer credentials, RFC 3 framing and hand-shake (RFC 12 roles).

Everybody may connect; who has no role in this instance is sent EPERM in place of a welcome (`[access]`).
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
import sys
from typing import Any
from uuid import uuid4

import msgspec

from flux.core.stream import SocketLink
from flux.errors import FluxError
from flux.message import ROLE_OWNER, Message
from flux.module import USER, Transport, request
from flux_plugins.local.access import AccessPolicy
from flux_plugins.local.early import Entrance

__all__ = ["LocalConnector"]

_SUN_PATH_MAX = 107
_BACKLOG = 128


class HoldRequest(msgspec.Struct):
    """local.hold: a client that passes messages on for others says whether one of them takes what it is sent.

    Attributes:
        client: id that stands for that one on the routes of its requests. hold: it does not.
    """

    client: str
    hold: bool


class LocalConnector(Transport):
    """Accepts clients of this broker."""

    name = "local"

    def __init__(self) -> None:
        self._links: dict[str, SocketLink] = {}
        self._accepted = 0
        self._listener: socket.socket | None = None
        self._path = ""
        self.policy = AccessPolicy.of(self.conf)
        self._entrance = Entrance(self.broker)

    def start(self) -> None:
        uri = self.broker.attrs.get("local-uri") or f"local://{self.broker.attrs['rundir']}/local-{self.rank}"
        scheme, _, path = uri.partition("://")
        if scheme != "local" or not path:
            raise FluxError(errno.EINVAL, f"attribute local-uri must look like local:///path, not {uri!r}")
        if len(os.fsencode(path)) > _SUN_PATH_MAX:
            raise FluxError(errno.EINVAL, f"socket path is longer than {_SUN_PATH_MAX} bytes: {path}")
        self._listen(path)
        _link_command(os.path.join(os.path.dirname(path), "bin"))
        self.broker.attrs.set("local-uri", uri, immutable=True)
        self.spawn(self._entrance.open(self.flux, self.rank), "entrance")

    def _listen(self, path: str) -> None:
        _remove_stale(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        umask = os.umask(0)  # who is refused is told so: roles decide, not the file's mode
        try:
            listener.bind(path)
        except OSError as exc:
            listener.close()
            raise FluxError(exc.errno or errno.EIO, f"cannot listen on {path}: {exc.strerror}") from None
        finally:
            os.umask(umask)
        listener.listen(_BACKLOG)
        self._listener, self._path = listener, path
        self.flux.loop.add_reader(listener, self._acceptable)

    def reconfigured(self, conf: dict[str, Any]) -> None:
        self.policy = AccessPolicy.of(conf)

    def _acceptable(self) -> None:
        assert self._listener is not None
        while True:
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as exc:
                self.log.error(f"accept: {exc.strerror}")
                return
            self._accept(sock)

    def _accept(self, sock: socket.socket) -> None:
        uid = peer_uid(sock)
        rolemask = self.policy.roles_of(uid, self.log.warning)
        if not rolemask:
            _greet(sock, errno.EPERM)
            sock.close()
            self.log.warning(f"user {uid} was refused: this instance belongs to user {os.getuid()}")
            return
        if not _greet(sock, 0):
            sock.close()
            return
        owner = bool(rolemask & ROLE_OWNER)
        link = SocketLink(str(uuid4()), uid, rolemask, owner, sock, self._entrance.deliver, self._lost)
        self._links[link.uuid] = link
        self._accepted += 1
        self.broker.switch.attach(link)

    def _lost(self, link: SocketLink, error: FluxError) -> None:
        del self._links[link.uuid]
        if error.errno not in (errno.ECONNRESET, errno.EPIPE):  # it left, maybe with answers on their way
            self.log.error(f"client {link.uuid[:8]} (user {link.userid}) was disconnected: {error}")
        # What a client's own service has not answered ends as if it had come a moment later: nobody serves it.
        self.broker.switch.detach(link, errno.ENOSYS, "the client that served this has gone")

    @request("hold", allow=USER, payload=HoldRequest)
    def hold(self, msg: Message, req: HoldRequest) -> None:
        """Have services wait before they send more to a client behind this one, or go on.

        FluxError EINVAL or ENOBUFS for what `SocketLink.hold` refuses: to that client is sent as if it were not slow.
        """
        *way, link = msg.routes or ("",)
        if link in self._links:
            self._links[link].hold((req.client, *way), req.hold)

    def stop(self) -> None:
        if self._listener is not None:
            self.flux.loop.remove_reader(self._listener)
            self._listener.close()
            os.unlink(self._path)
        for link in list(self._links.values()):
            self.broker.switch.detach(link)
            link.close()
        self._links.clear()

    def stats(self) -> dict[str, Any]:
        return {
            "clients": len(self._links),
            "accepted": self._accepted,
            "held": sum(len(link.behind) for link in self._links.values()),
            "allow_guest_user": self.policy.allow_guest_user,
            "allow_root_owner": self.policy.allow_root_owner,
        }


def _greet(sock: socket.socket, errnum: int) -> bool:
    """Say welcome, or why not (RFC 3); False when the client has left already."""
    try:
        sock.send(bytes((errnum,)), socket.MSG_NOSIGNAL)
    except OSError:
        return False
    return True


def peer_uid(sock: socket.socket) -> int:
    """User id of the other end of a UNIX socket (SO_PEERCRED)."""
    _pid, uid, _gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)


def _link_command(folder: str) -> None:
    """Put our `flux` where ssh:// connections of other hosts look for it (`flux relay`)."""
    program = os.path.join(os.path.dirname(sys.executable), "flux")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        os.symlink(program, os.path.join(folder, "flux"))
    except FileExistsError:
        return  # of another broker with the same rundir


def _remove_stale(path: str) -> None:
    try:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
    except FileNotFoundError:
        return
