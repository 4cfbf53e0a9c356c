"""Tells a supervisor such as systemd how far the broker is, as sd_notify(3) does (`broker.sd-notify`)."""

from __future__ import annotations

import os
import socket

__all__ = ["Supervisor"]


class Supervisor:
    """The datagram socket that NOTIFY_SOCKET names; without one nothing is sent.

    Args:
        stop_timeout: seconds by which the supervisor's patience is extended at each step of a stop; None: not at all.
    """

    def __init__(self, address: str, stop_timeout: float | None = None) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._stop_timeout = stop_timeout
        self.stopping = False

    @classmethod
    def of_environment(cls, wanted: bool, stop_timeout: float | None) -> Supervisor:
        return cls(os.environ.get("NOTIFY_SOCKET", "") if wanted else "", stop_timeout)

    def ready(self) -> None:
        """The broker does its work; joining the instance may take longer than a supervisor waits."""
        self._send("READY=1")

    def status(self, text: str | None) -> None:
        """Progress: a line for people, if there is one, and more time when the broker is about to stop."""
        if self.stopping and self._stop_timeout is not None:
            self._send(f"EXTEND_TIMEOUT_USEC={int(self._stop_timeout * 1e6)}")
        if text:
            self._send(f"STATUS={text}")

    def _send(self, line: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sock:
            sock.sendto(line.encode(), self._address)
