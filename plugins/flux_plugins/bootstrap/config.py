"""Bootstrap from the configuration (flux-config-bootstrap(5)): every broker reads who and where all the others are.

Nothing is exchanged: the place of a broker is that of its host in `bootstrap.hosts`, all share one certificate, and
endpoints are fixed. So brokers may start, end and come back at any time.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from flux.certificate import read_certificate
from flux.errors import FluxError
from flux.hooks.kernel import BootInfo, Bootstrap
from flux.hostlist import Hostlist
from flux_plugins.bootstrap.hostname import FAKE_HOSTNAME

__all__ = ["ConfigBootstrap"]


class HostEntry(msgspec.Struct, forbid_unknown_fields=True):
    """Hosts of the same settings: an RFC 29 hostlist, endpoints, and the host of the parent broker."""

    host: str
    bind: str | None = None
    connect: str | None = None
    parent: str | None = None


class BootstrapTable(msgspec.Struct, forbid_unknown_fields=True):
    """The [bootstrap] table."""

    curve_cert: str | None = None
    default_port: int | None = None
    default_bind: str | None = None
    default_connect: str | None = None
    enable_ipv6: bool = False
    hosts: list[HostEntry] = []


class ConfigBootstrap(Bootstrap):
    """Brokers whose hosts are listed in the configuration."""

    name: ClassVar[str] = "config"
    static = True

    @classmethod
    def available(cls, environ: Mapping[str, str], conf: Mapping[str, Any]) -> bool:
        return "bootstrap" in conf

    def __init__(self, environ: Mapping[str, str], conf: Mapping[str, Any]) -> None:
        super().__init__(environ, conf)
        self._table = BootstrapTable()
        self._hosts: dict[str, HostEntry] = {}
        self._names: list[str] = []
        self._rank = 0

    def open(self) -> BootInfo:
        table = self._table = _read(self.conf.get("bootstrap", {}))
        self._hosts = _expand(table.hosts)
        self._names = list(self._hosts)
        self.ipv6 = table.enable_ipv6
        host = self._own_host()
        self.parents = self._read_parents()
        size = max(1, len(self._names))
        self._rank = self._names.index(host) if self._names else 0
        if size > 1:
            self.certificate = self._read_certificate(size)
        return BootInfo(self._rank, size, attrs={"hostname": host, "instance-level": "0"})

    def _own_host(self) -> str:
        """This host as the configuration calls it: by its full name or the part before the first dot."""
        name = self.environ.get(FAKE_HOSTNAME) or socket.gethostname()
        short = name.partition(".")[0]
        for candidate in (name, short):
            if candidate in self._hosts or not self._hosts:
                return candidate
        known = Hostlist(self._names).encode()
        raise FluxError(errno.ENOENT, f"this host, {name}, is not among the bootstrap.hosts {known}")

    def _read_parents(self) -> dict[int, int]:
        ranks = {host: rank for rank, host in enumerate(self._names)}
        parents = {}
        for host, entry in self._hosts.items():
            if entry.parent is None:
                continue
            if entry.parent not in ranks:
                text = f"bootstrap.hosts: {entry.parent}, the parent of {host}, is not among the hosts"
                raise FluxError(errno.EINVAL, text)
            parents[ranks[host]] = ranks[entry.parent]
        return parents

    def _read_certificate(self, size: int) -> tuple[str, str]:
        path = self._table.curve_cert
        if path is None:
            text = f"bootstrap.curve_cert is needed for an instance of {size} brokers: flux keygen makes one"
            raise FluxError(errno.EINVAL, text)
        certificate = read_certificate(os.path.expanduser(path))
        return certificate.public, certificate.secret

    def endpoint(self) -> str:
        host = self._names[self._rank]
        text = self._hosts[host].bind or self._table.default_bind
        if text is None:
            raise FluxError(
                errno.EINVAL, f"bootstrap: {host} has downstream brokers and needs `bind`, its own or default_bind"
            )
        return self._substitute(text, host)

    def _substitute(self, text: str, host: str) -> str:
        port = self._table.default_port
        if "%p" in text and port is None:
            raise FluxError(errno.EINVAL, f"bootstrap: {text} has %p, but there is no default_port")
        return text.replace("%p", str(port)).replace("%h", host)

    def publish(self, card: dict[str, Any]) -> None:
        """Everybody has read it already."""

    def barrier(self) -> None:
        """Nobody waits: some brokers may start much later."""

    def lookup(self, rank: int) -> dict[str, Any]:
        if not 0 <= rank < len(self._names):
            raise FluxError(errno.ENOENT, f"bootstrap.hosts has no rank {rank}")
        host = self._names[rank]
        connect = self._hosts[host].connect or self._table.default_connect
        uris = [self._substitute(connect, host)] if connect else []
        return {"host": host, "pubkey": (self.certificate or ("", ""))[0], "uri": uris}

    def finalize(self) -> None:
        """There is no launcher."""

    def abort(self, text: str) -> None:
        """There is no launcher."""


def _read(table: Any) -> BootstrapTable:
    try:
        return msgspec.convert(table, BootstrapTable)
    except msgspec.ValidationError as exc:
        raise FluxError(errno.EINVAL, f"[bootstrap]: {str(exc).replace('`$', '`bootstrap')}") from None


def _expand(entries: list[HostEntry]) -> dict[str, HostEntry]:
    """Each host with its settings, in rank order; what a later entry says of a host overrides an earlier one."""
    hosts: dict[str, HostEntry] = {}
    for number, entry in enumerate(entries):
        try:
            names = Hostlist(entry.host).expand()
        except ValueError as exc:
            raise FluxError(errno.EINVAL, f"bootstrap.hosts[{number}]: {exc}") from None
        for name in names:
            hosts[name] = _merged(hosts.get(name), entry, name)
    return hosts


def _merged(earlier: HostEntry | None, entry: HostEntry, name: str) -> HostEntry:
    if earlier is None:
        return HostEntry(name, entry.bind, entry.connect, entry.parent)
    return HostEntry(name, entry.bind or earlier.bind, entry.connect or earlier.connect, entry.parent or earlier.parent)
