"""Opening a connection by URI: `local`, `fd` and `loop` here, further schemes by connector plugins.

The server greets with one byte (RFC 3): 0 for welcome, else the errno of its refusal.
"""

from __future__ import annotations

import errno
import os
import socket
import time

from flux.core.session import lost
from flux.errors import FluxError
from flux.frames import FrameDecoder
from flux.message import Message

__all__ = ["open_socket", "receive_from", "resolve_uri", "widen"]

_READ_SIZE = 65536  # below the size from which malloc maps and unmaps memory for each read
_WHOLE = int(socket.MSG_WAITALL)  # as a number: flags of an enum cost at each use
_SEND_BUFFER = 1 << 20

_RETRIES, _FIRST_DELAY, _LONGEST_DELAY = 5, 0.016, 2.0
_SUN_PATH_MAX = 107


def resolve_uri(uri: str | None) -> str:
    """The URI to open: the argument, else $FLUX_URI, else the system instance's. FluxError ENOENT without any."""
    uri = uri or os.environ.get("FLUX_URI") or _system_instance()
    if "://" not in uri:
        raise FluxError(errno.EINVAL, f"{uri!r} is no URI: it should look like local:///path/to/socket")
    return uri


def _system_instance() -> str:
    from flux import installation

    path = os.path.join(installation.RUNDIR, "local")
    if not os.path.exists(path):
        text = f"FLUX_URI is not set, and no system instance is at {path} (try flux start)"
        raise FluxError(errno.ENOENT, f"no Flux instance to connect to: {text}")
    return f"local://{path}"


def open_socket(uri: str | None) -> socket.socket:
    """A connected and welcomed stream socket for a URI.

    Raises:
        FluxError: EINVAL for a bad URI, ENOENT or ECONNREFUSED when nothing listens,
            EPERM when the instance refuses this user, ECONNRESET when it hung up.
    """
    uri = resolve_uri(uri)
    scheme, _, rest = uri.partition("://")
    if scheme == "local":
        sock = _connect_local(rest.partition("?")[0])
    elif scheme == "fd":
        sock = _adopt_fd(rest)
    elif scheme == "loop":
        return _loop_pair()
    else:
        from flux.discovery import load

        connector, _ = load("connectors", scheme)
        sock = connector(rest)
    _handshake(sock, uri)
    return sock


def _connect_local(path: str) -> socket.socket:
    if len(os.fsencode(path)) > _SUN_PATH_MAX:
        raise FluxError(errno.EINVAL, f"socket path is longer than {_SUN_PATH_MAX} bytes: {path}")
    retries = int(os.environ.get("FLUX_LOCAL_CONNECTOR_RETRY_COUNT", _RETRIES))
    delay = _FIRST_DELAY
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(path)
            widen(sock)
            return sock
        except OSError as exc:
            sock.close()
            if retries <= 0:
                raise FluxError(exc.errno or errno.EIO, f"connecting to {path}: {exc.strerror}") from None
        retries -= 1
        time.sleep(delay)
        delay = min(delay * 2, _LONGEST_DELAY)


def widen(sock: socket.socket) -> None:
    """Let a UNIX socket hold a large message, so that it leaves at once rather than a fifth of it at a time."""
    if sock.family == socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)


def receive_from(sock: socket.socket, decoder: FrameDecoder, flags: int = 0) -> list[Message]:
    """The messages that are complete with what one read of a socket gives; none when it would block.

    Raises:
        FluxError: what recv(2) says; ECONNRESET at the end of the stream.
        ProtocolError: see `FrameDecoder.feed`.
    """
    space = decoder.space()
    try:
        if space is None:
            data = sock.recv(_READ_SIZE, flags)
            count = len(data)
        else:
            count = sock.recv_into(space, 0, flags | _WHOLE)
    except BlockingIOError:
        return []
    except OSError as exc:
        raise FluxError(exc.errno or errno.EIO, exc.strerror or "") from None
    if not count:
        raise lost("the other side closed the connection")
    return decoder.feed(data) if space is None else decoder.filled(count)


def _adopt_fd(text: str) -> socket.socket:
    try:
        return socket.socket(fileno=int(text))
    except (ValueError, OSError) as exc:
        raise FluxError(errno.EINVAL, f"fd://{text} is not an open socket: {exc}") from None


def _loop_pair() -> socket.socket:
    raise FluxError(errno.EINVAL, "loop:// has no socket: open it with flux.Flux('loop://')")


def _handshake(sock: socket.socket, uri: str) -> None:
    try:
        greeting = sock.recv(1)
    except OSError as exc:
        raise FluxError(exc.errno or errno.EIO, f"{uri}: {exc.strerror}") from None
    if greeting == b"\0":
        return
    sock.close()
    if not greeting:
        raise FluxError(errno.ECONNRESET, f"{uri}: the broker closed the connection")
    raise FluxError(greeting[0], f"{uri}: access refused: {os.strerror(greeting[0])}")
