"""Orderly shutdown by command: shutdown.start, which `flux shutdown` calls (flux-shutdown(1))."""

from __future__ import annotations

import errno
import re
from typing import Any

import msgspec

from flux.errors import FluxError
from flux.message import FLAG_STREAMING, Message
from flux.module import DEFERRED, Module, Subscribers, request

__all__ = ["Shutdown"]

_LEVELS = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
_ENTRY = re.compile(r"<(\d+)>1 \S+ (\S+) (\S+) \S+ \S+ \S+ ?(.*)", re.DOTALL)


class StartRequest(msgspec.Struct):
    """loglevel: the least important severity, 0 to 7, of the log lines to send."""

    loglevel: int = 6


class Shutdown(Module):
    """Ends the instance, and lets the one who asked for it read the log until the end."""

    name = "shutdown"
    stage = "boot"
    ranks = "0"
    after = ("state-machine", "log", "local")

    def __init__(self) -> None:
        self._readers = Subscribers(self)
        self._loglevel = 6
        self._log: Any = None
        self._begun = False

    @request("start", streaming="optional", payload=StartRequest)
    async def start_shutdown(self, msg: Message, req: StartRequest) -> Any:
        if not 0 <= req.loglevel < len(_LEVELS):
            raise FluxError(errno.EINVAL, f"loglevel is {req.loglevel}, it goes from 0 to {len(_LEVELS) - 1}")
        state = (await self.flux.rpc("state-machine.get"))["state"]
        if self._begun or state not in ("init", "quorum", "run", "join", "config-sync"):
            raise FluxError(errno.EINVAL, "shutdown is already in progress")
        if state != "run":
            raise FluxError(errno.EINVAL, f"the instance does not run yet, it is in state {state}")
        self._begun = True
        if msg.is_streaming:
            self._follow_log(msg, req.loglevel)
        self.flux.notify("state-machine.post", {"event": "shutdown"})
        return DEFERRED if msg.is_streaming else None

    def _follow_log(self, msg: Message, loglevel: int) -> None:
        self._loglevel = loglevel
        self._readers.add(msg)
        follow = {"follow": True, "nobacklog": True}
        self._log = self.flux.rpc("log.dmesg", follow, self.rank, FLAG_STREAMING)
        self._log.then(self._logged)

    def _logged(self, log: Any) -> None:
        try:
            entry = log.get_str()
        except FluxError:
            self._readers.end()
            return
        log.reset()
        match = _ENTRY.fullmatch(entry or "")
        if match and (level := int(match[1]) >> 3) <= self._loglevel:
            self._readers.publish({"log": f"{match[3]}.{_LEVELS[min(level, 7)]}[{match[2]}]: {match[4]}\n"})

    def stop(self) -> None:
        self._readers.end()
