"""A process's side of PMI-1: blocking calls over the descriptor in $PMI_FD, or to the address in $PMI_PORT (RFC 13).

Every failure is a FluxError: EPROTO when the server breaks the protocol, ECONNRESET when it is gone, EIO
when it refuses, ENOENT for a key nobody put.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from errno import ECONNRESET, EHOSTUNREACH, EINVAL, EIO, ENOENT, EPROTO
from typing import NoReturn

from flux.errors import FluxError
from flux.pmi.wire import LineBuffer, WireError, format_line, parse_line

__all__ = ["PMIClient"]


class PMIClient:
    """Talk PMI-1 on file descriptor ``fd`` as process ``rank`` of ``size``.  Call init() first."""

    def __init__(self, fd: int, rank: int, size: int, spawned: bool = False) -> None:
        self.fd = fd
        self.rank = rank
        self.size = size
        self.spawned = spawned
        self._kvsname: str | None = None
        self._buffer = LineBuffer()

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> PMIClient:
        """Use $PMI_FD, $PMI_RANK and $PMI_SIZE.  FluxError ENOENT or EINVAL when one is unset or no number."""
        fd, rank, size = (_env_number(environ, name) for name in ("PMI_FD", "PMI_RANK", "PMI_SIZE"))
        if rank >= size:
            raise FluxError(EINVAL, f"PMI_RANK={rank} is not below PMI_SIZE={size}")
        return cls(fd, rank, size, environ.get("PMI_SPAWNED") == "1")

    @classmethod
    def from_port(cls, environ: Mapping[str, str] = os.environ) -> PMIClient:
        """Connect to HOST:PORT in $PMI_PORT as process $PMI_ID; the server tells rank and size.

        FluxError EINVAL for a wrong variable, EHOSTUNREACH when nobody answers there.
        """
        import socket

        address, process = environ.get("PMI_PORT", ""), _env_number(environ, "PMI_ID")
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal():
            raise FluxError(EINVAL, f"PMI_PORT={address} is not HOST:PORT")
        try:
            sock = socket.create_connection((host.strip("[]"), int(port)))
        except OSError as exc:
            raise FluxError(EHOSTUNREACH, f"PMI_PORT={address}: {exc.strerror or exc}") from None
        client = cls(sock.detach(), process, 0)
        try:
            client._introduce(process)
        except FluxError:
            client.close()
            raise
        return client

    def _introduce(self, process: int) -> None:
        """Say who we are; what follows the answer are settings, the one called debug last."""
        self._send(format_line("initack", pmiid=process))
        settings: dict[str, str] = {}
        while "debug" not in settings:
            for line in self._read_lines("initack"):
                fields = _parsed(line, "initack")
                if fields.get("cmd") not in ("initack", "set"):
                    raise FluxError(EPROTO, f"PMI initack: expected cmd=set, got cmd={fields.get('cmd')}")
                settings |= fields
        self.rank, self.size = _number(settings, "rank"), _number(settings, "size")

    def init(self) -> tuple[int, int]:
        """Agree on version 1; return the (version, subversion) that the server chose."""
        fields = self._request("response_to_init", "init", pmi_version=1, pmi_subversion=1)
        version = _number(fields, "pmi_version"), _number(fields, "pmi_subversion")
        if version[0] != 1:
            raise FluxError(EPROTO, f"PMI server speaks version {version[0]}.{version[1]}, expected 1.1")
        return version

    def get_maxes(self) -> tuple[int, int, int]:
        """The lengths, with a terminating NUL, of (kvsname, key, value)."""
        fields = self._request("maxes", "get_maxes")
        return _number(fields, "kvsname_max"), _number(fields, "keylen_max"), _number(fields, "vallen_max")

    def get_my_kvsname(self) -> str:
        """The name of this program's keyval space (under Flux: the job id)."""
        if self._kvsname is None:
            self._kvsname = _field(self._request("my_kvsname", "get_my_kvsname"), "kvsname")
        return self._kvsname

    def get_universe_size(self) -> int:
        """The greatest size that the program may grow to."""
        return _number(self._request("universe_size", "get_universe_size"), "size")

    def get_appnum(self) -> int:
        """The number of this application among those started together."""
        return _number(self._request("appnum", "get_appnum"), "appnum")

    def put(self, key: str, value: str) -> None:
        """Put a key that no process has put; others see it after a barrier."""
        self._request("put_result", "put", kvsname=self.get_my_kvsname(), key=key, value=value)

    def get(self, key: str) -> str:
        """Return the value of ``key``; FluxError ENOENT when there is none."""
        kvsname = self.get_my_kvsname()
        return _field(self._request("get_result", "get", ENOENT, kvsname=kvsname, key=key), "value")

    def barrier(self) -> None:
        """Wait until all processes of the program are here.  FluxError EIO when one can no more come."""
        self._request("barrier_out", "barrier_in")

    def finalize(self) -> None:
        """Say goodbye; the descriptor stays open."""
        self._request("finalize_ack", "finalize")

    def abort(self, exitcode: int, msg: str = "") -> NoReturn:
        """Ask for the end of the whole program, print ``msg`` and exit with ``exitcode``."""
        self.request_abort(exitcode, msg)
        print(msg, file=sys.stderr)
        sys.exit(exitcode)

    def request_abort(self, exitcode: int, msg: str) -> None:
        """Ask for the end of the whole program, and go on."""
        self._send(format_line("abort", exitcode=exitcode, msg=" ".join(msg.split())))

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)

    # --- lock-step exchange ---------------------------------------------------------------

    def _request(self, response: str, cmd: str, errnum: int = EIO, **fields: object) -> dict[str, str]:
        self._send(format_line(cmd, **fields))
        answer = self._receive(cmd)
        rc, msg = _number(answer, "rc", 0), answer.get("msg", "no reason given")
        if rc != 0:
            raise FluxError(errnum, f"PMI {cmd} failed with rc={rc}: {msg}")
        if answer.get("cmd") != response:
            raise FluxError(EPROTO, f"PMI {cmd}: expected cmd={response}, got cmd={answer.get('cmd')}")
        return answer

    def _send(self, line: str) -> None:
        data = memoryview(line.encode("utf-8", "surrogateescape"))
        try:
            while data:
                data = data[os.write(self.fd, data) :]
        except OSError as e:
            raise FluxError(e.errno or EIO, f"PMI server is gone: {e.strerror} on PMI_FD {self.fd}") from e

    def _receive(self, cmd: str) -> dict[str, str]:
        lines = self._read_lines(cmd)
        if len(lines) > 1:
            raise FluxError(EPROTO, f"PMI {cmd}: {len(lines)} answers to one request")
        return _parsed(lines[0], cmd)

    def _read_lines(self, cmd: str) -> list[str]:
        try:
            lines = self._buffer.feed(self._read(cmd))
            while not lines:
                lines = self._buffer.feed(self._read(cmd))
        except WireError as e:
            raise FluxError(EPROTO, f"PMI {cmd}: {e}") from e
        return lines

    def _read(self, cmd: str) -> bytes:
        try:
            data = os.read(self.fd, 65536)
        except OSError as e:
            raise FluxError(e.errno or EIO, f"PMI {cmd}: {e.strerror} on PMI_FD {self.fd}") from e
        if not data:
            raise FluxError(ECONNRESET, f"PMI {cmd}: the server closed the connection before it answered")
        return data


def _env_number(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name)
    if text is None:
        raise FluxError(ENOENT, f"{name} is not set: not started by a PMI process manager")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise FluxError(EINVAL, f"{name}={text} is not a number >= 0")
    return int(text)


def _parsed(line: str, cmd: str) -> dict[str, str]:
    try:
        return parse_line(line)
    except WireError as e:
        raise FluxError(EPROTO, f"PMI {cmd}: {e}") from e


def _field(fields: Mapping[str, str], name: str) -> str:
    if name not in fields:
        raise FluxError(EPROTO, f"PMI server answered cmd={fields.get('cmd')} without {name}=")
    return fields[name]


def _number(fields: Mapping[str, str], name: str, default: int | None = None) -> int:
    if default is not None and name not in fields:
        return default
    text = _field(fields, name)
    try:
        return int(text)
    except ValueError:
        raise FluxError(EPROTO, f"PMI server answered {name}={text}, expected a number") from None
