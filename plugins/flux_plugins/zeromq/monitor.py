"""What happens to the connections of a ZeroMQ socket: its monitor events, on the loop (zmq_socket_monitor(3))."""

from __future__ import annotations

import struct
from collections.abc import Callable

import zmq

from flux_plugins.zeromq.sockets import LoopSocket

__all__ = ["Monitor"]

_EVENT = struct.Struct("=HI")
_WATCHED = (
    zmq.EVENT_ACCEPTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CONNECT_RETRIED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


class Monitor:
    """Calls back with each connection event of a socket.

    Args:
        context: of the socket.
        sock: the socket; start before it connects or binds.
        on_event: called with the event, its value (a descriptor or a code), and the endpoint.
        on_error: called with an exception that on_event let through.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        sock: zmq.Socket[bytes],
        on_event: Callable[[zmq.Event, int, str], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._on_event = on_event
        self._monitored = sock
        self._loop_socket = LoopSocket(_listener(context, sock), self._frames, on_error)

    def _frames(self, frames: list[bytes]) -> None:
        event, value = _EVENT.unpack_from(frames[0])
        if event != zmq.EVENT_MONITOR_STOPPED:
            self._on_event(zmq.Event(event), value, frames[1].decode(errors="replace"))

    def drain(self) -> None:
        """Handle the events that are there already."""
        self._loop_socket.drain()

    def close(self) -> None:
        """Stop; call before the monitored socket is closed."""
        if not self._loop_socket.closed:
            # in this order: an event after our end is closed blocks ZeroMQ's thread, and then this call, for ever
            self._monitored.disable_monitor()
            self._loop_socket.close()


def _listener(context: zmq.Context[zmq.Socket[bytes]], sock: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
    endpoint = f"inproc://monitor-{id(sock)}"
    sock.monitor(endpoint, _WATCHED)
    listener = context.socket(zmq.PAIR)
    # ZeroMQ's own thread writes the events, and must not be held up by how fast they are read
    listener.setsockopt(zmq.RCVHWM, 0)
    listener.connect(endpoint)
    return listener
