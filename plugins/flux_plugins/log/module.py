"""The log service: log.append, log.dmesg, log.clear (flux-dmesg(1), flux-logger(1), log-* attributes)."""

from __future__ import annotations

import errno
from collections import deque
from typing import Any

import msgspec

from flux.constants import FLUX_NODEID_UPSTREAM
from flux.errors import FluxError, ProtocolError
from flux.message import FLAG_NORESPONSE, FLAG_STREAMING, Message
from flux.module import DEFERRED, Module, Subscribers, request
from flux.module.log import install
from flux_plugins.log.records import make_logger
from flux_plugins.log.ring import Entry, Ring, parse_entry
from flux_plugins.log.sinks import FileSink, Sink, SyslogSink, print_entry

__all__ = ["Log"]

DEFAULTS = {
    "log-ring-size": "1024",
    "log-level": "7",
    "log-forward-level": "3",
    "log-critical-level": "2",
    "log-stderr-level": "3",
    "log-stderr-mode": "leader",
    "log-syslog-enable": "0",
    "log-syslog-level": "3",
}


_MAX_UNSENT = 256


class DmesgRequest(msgspec.Struct):
    follow: bool
    nobacklog: bool = False


class SetAttrRequest(msgspec.Struct):
    name: str
    value: str


class Log(Module):
    """Keeps this rank's log, forwards what is serious to rank 0, prints it there."""

    name = "log"
    stage = "boot"
    before = ("local", "overlay", "attr")
    isolatable = False

    @classmethod
    def prefork(cls, options: Any) -> None:
        """Let the modules of this process log records with structlog."""
        install(make_logger)

    def __init__(self) -> None:
        attrs = self.broker.attrs
        for name, default in DEFAULTS.items():
            value = attrs.get(name, default)
            attrs.set(name, value, immutable=name not in ("log-stderr-level",))
        self.ring = Ring(_number(attrs["log-ring-size"], "log-ring-size", 0, 1 << 24))
        self._level = _level(attrs["log-level"], "log-level")
        self._forward_level = _level(attrs["log-forward-level"], "log-forward-level")
        self._critical_level = _level(attrs["log-critical-level"], "log-critical-level")
        self._stderr_level = _level(attrs["log-stderr-level"], "log-stderr-level")
        self._mode = attrs["log-stderr-mode"]
        if self._mode not in ("leader", "local"):
            raise FluxError(errno.EINVAL, f"log-stderr-mode is leader or local, not {self._mode!r}")
        self._followers = Subscribers(self)
        self._local = self._remote = 0
        self._sinks: list[Sink] = []
        self._file: Sink | None = None
        self._file_failed = False
        self._unsent: deque[Entry] | None = deque(maxlen=_MAX_UNSENT) if self.rank > 0 else None
        attrs.on_change("log-stderr-level", self._set_stderr_level)
        attrs.compute("log-ring-used", lambda: str(len(self.ring)))
        attrs.compute("log-count", lambda: str(self.ring.count))

    def start(self) -> None:
        attrs = self.broker.attrs
        path = attrs.get("log-filename")
        if path and self.rank == 0:
            self._file = FileSink(path)
        if _number(attrs["log-syslog-enable"], "log-syslog-enable", 0, 1):
            self._sinks.append(
                SyslogSink(_level(attrs["log-syslog-level"], "log-syslog-level"), attrs.get("jobid-path") or "/")
            )

        if self._unsent is not None:
            self.spawn(self._begin_forwarding(), "forward")

    async def _begin_forwarding(self) -> None:
        """There is a parent once the broker has started: it gets what is serious of what came before."""
        await self.broker.booted.wait()
        unsent, self._unsent = self._unsent, None
        for entry in unsent or ():
            self._forward(entry)

    def stop(self) -> None:
        for entry in self._unsent or ():
            if not self._is_printed(entry, True):
                print_entry(entry, numbered=False)
        for sink in (*self._sinks, *([self._file] if self._file else [])):
            sink.close()
        self._sinks.clear()
        self._file = None

    def _set_stderr_level(self, value: str) -> None:
        try:
            self._stderr_level = _level(value, "log-stderr-level")
        except FluxError:
            self.broker.attrs.set("log-stderr-level", str(self._stderr_level))
            raise

    @request("append")
    def append(self, msg: Message) -> Any:
        try:
            entry = parse_entry((msg.payload_str or "").rstrip("\n"))
        except ValueError as exc:
            raise ProtocolError(str(exc)) from None
        own = entry.rank == str(self.rank)
        self._local += own
        self._remote += not own
        if own and entry.severity <= self._level:
            self._keep(entry)
        self._pass_on(entry, own)
        return None if msg.matchtag else DEFERRED

    def _keep(self, entry: Entry) -> None:
        self.ring.append(entry)
        self._followers.publish(entry.text)

    def _pass_on(self, entry: Entry, own: bool) -> None:
        if self._is_printed(entry, own):
            print_entry(entry, numbered=self._mode == "local")
        if own:
            for sink in self._sinks:
                sink.write(entry)
        if entry.severity > self._forward_level:
            return
        if self._file is not None:
            self._write_file(entry)
        elif self._unsent is not None:
            self._unsent.append(entry)
        elif self.rank > 0:
            self._forward(entry)

    def _is_printed(self, entry: Entry, own: bool) -> bool:
        """True for what this broker shows on its standard error."""
        here = self.rank == 0 or self._mode == "local"
        return (here and entry.severity <= self._stderr_level) or (own and entry.severity <= self._critical_level)

    def _forward(self, entry: Entry) -> None:
        self.flux.rpc("log.append", entry.text.encode(), FLUX_NODEID_UPSTREAM, FLAG_NORESPONSE)

    def _write_file(self, entry: Entry) -> None:
        assert self._file is not None
        try:
            self._file.write(entry)
            self._file_failed = False
        except OSError as exc:
            if not self._file_failed:
                self.log.error(f"log file {self.broker.attrs['log-filename']}: {exc.strerror}: entries are lost")
            self._file_failed = True

    @request("dmesg", streaming=True, payload=DmesgRequest)
    def dmesg(self, msg: Message, req: DmesgRequest) -> Any:
        if not req.nobacklog:
            for entry in self.ring.entries():
                self.flux.send_message(msg.respond(entry.text, flags=FLAG_STREAMING))
        if req.follow:
            self._followers.add(msg)
            return DEFERRED
        raise FluxError(errno.ENODATA)

    @request("clear")
    def clear(self, _msg: Message) -> None:
        self.ring.clear()

    @request("setattr", payload=SetAttrRequest)
    def setattr(self, _msg: Message, req: SetAttrRequest) -> None:
        if req.name != "log-stderr-level":
            raise FluxError(errno.EINVAL, f"{req.name} may not be updated")
        _level(req.value, req.name)
        self.broker.attrs.set(req.name, req.value)

    @request("stats-get")
    def stats_get(self, _msg: Message) -> dict[str, Any]:
        return {
            "ring-used": len(self.ring),
            "count": self.ring.count,
            "local": self._local,
            "remote": self._remote,
        }


def _number(text: str, name: str, low: int, high: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise FluxError(errno.EINVAL, f"attribute {name} must be a number from {low} to {high}, not {text!r}")
    return value


def _level(text: str, name: str) -> int:
    return _number(text, name, -1, 7)
