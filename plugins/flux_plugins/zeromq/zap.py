"""Who may connect: the ZeroMQ authentication handler (ZAP, ZeroMQ RFC 27) of one broker.

Only CURVE clients whose public key was allowed before are let in. The user id that goes with a connection is the rank
that the key belongs to.
"""

from __future__ import annotations

from collections.abc import Callable

import zmq
from zmq.utils import z85

from flux_plugins.zeromq.sockets import LoopSocket

__all__ = ["ANY_RANK", "ZAP_DOMAIN", "ZAP_ENDPOINT", "ZapHandler"]

ANY_RANK = "any"
"""User id of a connection whose key belongs to all brokers of the instance."""

ZAP_DOMAIN = b"flux"
ZAP_ENDPOINT = "inproc://zeromq.zap.01"
_VERSION = b"1.0"


class ZapHandler:
    """Answers the authentication requests of a context's sockets.

    Args:
        context: bind before any socket of it that authenticates.
        on_refused: called with a text for people.
        on_error: called with an exception of the handler itself.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        on_refused: Callable[[str], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        sock = context.socket(zmq.ROUTER)
        sock.bind(ZAP_ENDPOINT)
        self._allowed: dict[bytes, str] = {}
        self._on_refused = on_refused
        self._socket = LoopSocket(sock, self._request, on_error)

    def allow(self, public_key: str, rank: int | None) -> None:
        """Let the owner of a key (Z85 text) in as that rank, None for any. ValueError when it is no key."""
        key = z85.decode(public_key.encode("ascii"))
        if len(key) != 32:
            raise ValueError(f"public key of rank {rank} is not 32 bytes: {public_key!r}")
        self._allowed[key] = ANY_RANK if rank is None else str(rank)

    def _request(self, frames: list[bytes]) -> None:
        mark = frames.index(b"") + 1
        envelope, (version, request_id) = frames[:mark], frames[mark : mark + 2]
        code, text, user = self._judge(version, frames[mark + 2 :])
        self._socket.send([*envelope, _VERSION, request_id, code, text, user, b""])

    def _judge(self, version: bytes, fields: list[bytes]) -> tuple[bytes, bytes, bytes]:
        if version != _VERSION or len(fields) < 4:
            return b"500", b"malformed request", b""
        domain, address, _identity, mechanism, *credentials = fields
        if domain != ZAP_DOMAIN or mechanism != b"CURVE" or len(credentials) != 1:
            return self._refuse(address, f"mechanism {mechanism.decode(errors='replace')} is not accepted")
        user = self._allowed.get(credentials[0])
        if user is None:
            return self._refuse(address, "its public key is not one of this broker's children")
        return b"200", b"OK", user.encode()

    def _refuse(self, address: bytes, reason: str) -> tuple[bytes, bytes, bytes]:
        self._on_refused(f"refused connection from {address.decode(errors='replace') or 'this host'}: {reason}")
        return b"400", b"access denied", b""

    def close(self) -> None:
        self._socket.close()
