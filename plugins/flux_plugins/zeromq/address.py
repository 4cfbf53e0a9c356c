"""Where a broker listens: the choice of its address, and of the transport between two brokers.

`tbon.interface-hint` is "default-route" (the interface that the default route leaves by), "hostname"
(what the host's name resolves to), the name of an interface, or a network in CIDR form.
"""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flux.errors import FluxError

__all__ = ["choose_endpoint", "ipc_endpoint", "listen_address", "tcp_endpoint", "transports"]

_SIOCGIFADDR = 0x8915
_MAX_SOCKET_PATH = 107
_ROUTES = Path("/proc/net/route")
LOOPBACK = "127.0.0.1"


def transports(own_host_children: int, children: int, known: bool, prefer_tcp: bool) -> list[str]:
    """The transports to listen on, "tcp" before "ipc"; none for a leaf.

    Args:
        own_host_children: how many of the children run on this host.
        known: False when it is not known where they run.
    """
    if children == 0:
        return []
    if prefer_tcp or (known and own_host_children == 0):
        return ["tcp"]
    return ["ipc"] if known and own_host_children == children else ["tcp", "ipc"]


def choose_endpoint(uris: Sequence[str], same_host: bool) -> str:
    """The endpoint of the parent to connect to. FluxError EINVAL when it has none."""
    if not uris:
        raise FluxError(errno.EINVAL, "the parent broker has no endpoint: mismatched tbon.topo, or [bootstrap]?")
    local = [uri for uri in uris if uri.startswith("ipc://")]
    if same_host and local:
        return local[0]
    remote = [uri for uri in uris if not uri.startswith("ipc://")]
    if not remote:
        raise FluxError(errno.EHOSTUNREACH, f"the parent broker on another host listens at {local[0]} only")
    return remote[0]


def ipc_endpoint(rundir: str, rank: int, name: str = "tbon") -> str | None:
    """Endpoint for brokers on this host; None when the path is too long for a socket."""
    path = f"{rundir}/{name}-{rank}"
    return f"ipc://{path}" if len(path.encode()) <= _MAX_SOCKET_PATH else None


def tcp_endpoint(address: str) -> str:
    """Endpoint at an address, with a port that the system chooses."""
    return f"tcp://[{address}]:*" if ":" in address else f"tcp://{address}:*"


def listen_address(hint: str) -> str:
    """The address that a `tbon.interface-hint` means.

    Raises:
        FluxError: ENODEV when an interface or network that was named is not there.
    """
    if hint == "default-route":
        return _default_route_address() or _hostname_address() or LOOPBACK
    if hint == "hostname":
        return _hostname_address() or LOOPBACK
    if "/" in hint:
        return _address_in(hint)
    address = _interface_address(hint)
    if address is None:
        names = ", ".join(name for _, name in socket.if_nameindex())
        raise FluxError(errno.ENODEV, f"tbon.interface-hint={hint}: no such interface with an IPv4 address ({names})")
    return address


def _default_route_address() -> str | None:
    try:
        lines = _ROUTES.read_text().splitlines()[1:]
    except OSError:
        return None
    for line in lines:
        interface, destination, _gateway, flags, *rest = line.split()
        if destination == "00000000" and int(flags, 16) & 1 and rest[3] == "00000000":
            return _interface_address(interface)
    return None


def _hostname_address() -> str | None:
    try:
        found = socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return None
    return str(found[0][4][0]) if found else None


def _address_in(network: str) -> str:
    try:
        wanted = ipaddress.ip_network(network, strict=False)
    except ValueError as exc:
        raise FluxError(errno.EINVAL, f"tbon.interface-hint={network}: {exc}") from None
    for address in _addresses():
        if ipaddress.ip_address(address) in wanted:
            return address
    raise FluxError(errno.ENODEV, f"tbon.interface-hint={network}: this host has no address in it")


def _addresses() -> Iterator[str]:
    for _, name in socket.if_nameindex():
        address = _interface_address(name)
        if address is not None:
            yield address


def _interface_address(name: str) -> str | None:
    request: Any = struct.pack("256s", name.encode()[:15])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            answer = fcntl.ioctl(sock, _SIOCGIFADDR, request)
        except OSError:
            return None
    return socket.inet_ntoa(answer[20:24])
