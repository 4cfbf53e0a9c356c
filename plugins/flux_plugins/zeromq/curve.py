"""The two kinds of socket between brokers, encrypted and authenticated with CURVE (zmq_curve(7))."""

from __future__ import annotations

import zmq

from flux_plugins.zeromq.sockets import HWM, LINGER_MS
from flux_plugins.zeromq.zap import ZAP_DOMAIN

__all__ = ["dealer", "router"]


def router(context: zmq.Context[zmq.Socket[bytes]], secret_key: bytes) -> zmq.Socket[bytes]:
    """The end that accepts connections, of those that the context's ZAP handler lets in.

    Args:
        secret_key: of this broker, Z85.
    """
    sock = _socket(context, zmq.ROUTER)
    sock.setsockopt(zmq.ROUTER_MANDATORY, 1)
    sock.setsockopt(zmq.CURVE_SERVER, 1)
    sock.setsockopt(zmq.CURVE_SECRETKEY, secret_key)
    sock.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    return sock


def dealer(
    context: zmq.Context[zmq.Socket[bytes]], identity: str, keys: tuple[bytes, bytes], server_key: str
) -> zmq.Socket[bytes]:
    """The end that connects.

    Args:
        identity: what the other end calls this one. keys: public and secret key of this broker, Z85.
        server_key: public key of the broker to connect to, Z85.
    """
    sock = _socket(context, zmq.DEALER)
    sock.setsockopt(zmq.IDENTITY, identity.encode())
    sock.setsockopt(zmq.CURVE_PUBLICKEY, keys[0])
    sock.setsockopt(zmq.CURVE_SECRETKEY, keys[1])
    sock.setsockopt(zmq.CURVE_SERVERKEY, server_key.encode())
    return sock


def _socket(context: zmq.Context[zmq.Socket[bytes]], kind: int) -> zmq.Socket[bytes]:
    sock = context.socket(kind)
    # now, not only when it is closed: connections that end by themselves go by what was set before bind or connect,
    # and one that ends while the socket is closed would keep the context's end waiting for ever
    sock.setsockopt(zmq.LINGER, LINGER_MS)
    sock.setsockopt(zmq.SNDHWM, HWM)
    sock.setsockopt(zmq.RCVHWM, HWM)
    sock.setsockopt(zmq.IPV6, 1)
    sock.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
    return sock
