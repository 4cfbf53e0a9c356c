"""What commands that listen as a broker's local connector does (RFC 12) do with who connects."""

from __future__ import annotations

import errno
import os
import socket
import struct

__all__ = ["admit"]


def admit(sock: socket.socket) -> bool:
    """Greet who has connected; True for the user whose command this is. Others are told EPERM, and cut off."""
    _pid, uid, _gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if uid == os.getuid():
        sock.send(b"\0")
        return True
    sock.send(bytes((errno.EPERM,)))
    sock.close()
    return False
