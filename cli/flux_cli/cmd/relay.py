"""`flux relay`: a broker's socket on stdin and stdout, for ssh:// connections (flux-relay(1))."""

from __future__ import annotations

import os
import socket

from flux_cli.common import Parser, warn

_SIZE = 65536


def command(argv: list[str]) -> int:
    parser = Parser("relay", "Connect stdin and stdout with the local socket of a broker.")
    parser.add_argument("path", metavar="PATH", help="of the socket, or its local:// URI")
    path = parser.parse_args(argv).path.removeprefix("local://")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.connect(path)
        except OSError as exc:
            os.write(1, bytes((exc.errno or 1,)))  # as a broker refuses: the other end says what it means
            warn("relay", f"{path}: {exc.strerror}")
            return 1
        _relay(sock)
    return 0


def _relay(sock: socket.socket) -> None:
    """Copy both ways until either end closes. Each way has its own thread: neither may wait for the other."""
    from threading import Thread

    Thread(target=_copy_in, args=(sock,), daemon=True).start()
    while data := sock.recv(_SIZE):
        view = memoryview(data)
        while view:
            view = view[os.write(1, view) :]


def _copy_in(sock: socket.socket) -> None:
    try:
        while data := os.read(0, _SIZE):
            sock.sendall(data)
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the broker is gone: the other direction ends with that
