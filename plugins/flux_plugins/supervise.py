"""Starts modules again that have failed, as their `restart` in the composition says (plugins.toml(5))."""

from __future__ import annotations

import errno
import time
from typing import Any

import msgspec

from flux.errors import FluxError
from flux.message import Message
from flux.module import Module, event

__all__ = ["Supervise"]


class Options(msgspec.Struct):
    """Arguments of the module.

    Attributes:
        max_delay: seconds; delays double until they are as long as this.
        settled: seconds after which a module that was restarted and has not failed again is taken for well.
    """

    max_delay: float = msgspec.field(default=60.0, name="max-delay")
    settled: float = 300.0


class Patient:
    """A module that has failed: how often in a row, and when it was started for the last time."""

    def __init__(self) -> None:
        self.failures = 0
        self.since = time.monotonic()
        self.waiting = False


class Supervise(Module):
    """Reloads what fails, a while later each time, and gives up after a number of times in a row."""

    name = "supervise"
    options_type = Options

    def __init__(self) -> None:
        for name, value in (("max-delay", self.options.max_delay), ("settled", self.options.settled)):
            if not value >= 0:
                raise FluxError(errno.EINVAL, f"{name} is a number of seconds, 0 or more, not {value:g}")
        self._patients: dict[str, Patient] = {}
        self._counts = {"restarted": 0, "given-up": 0}

    @event("module.failed")
    def module_failed(self, msg: Message) -> None:
        failure = msg.payload
        if failure["rank"] == self.rank and failure["restart"]:
            self._treat(failure["name"], failure["restart"], failure["text"])

    def _treat(self, name: str, policy: dict[str, float], text: str) -> None:
        patient = self._patients.setdefault(name, Patient())
        if patient.waiting:
            return
        if time.monotonic() - patient.since > self.options.settled:
            patient.failures = 0
        patient.failures += 1
        if patient.failures > policy["limit"]:
            self._give_up(name, text)
            return
        delay = min(policy["delay"] * 2 ** (patient.failures - 1), max(self.options.max_delay, policy["delay"]))
        self.log.warning(f"module {name} has failed and is started again in {delay:g} s: {text}")
        patient.waiting = True
        self.flux.call_later(delay, lambda: self.spawn(self._restart(name, policy, patient), f"restart {name}"))

    async def _restart(self, name: str, policy: dict[str, float], patient: Patient) -> None:
        patient.waiting = False
        patient.since = time.monotonic()
        modules = await self.flux.rpc("module.list", nodeid=self.rank)
        if name not in {module["name"] for module in modules["mods"]}:
            del self._patients[name]  # it was removed meanwhile
            return
        try:
            await self.flux.rpc("module.reload", {"name": name, "restart": True}, nodeid=self.rank)
        except FluxError as exc:
            self._treat(name, policy, str(exc))
        else:
            self._counts["restarted"] += 1

    def _give_up(self, name: str, text: str) -> None:
        del self._patients[name]
        self._counts["given-up"] += 1
        self.log.error(f"module {name} fails again and again and is not started any more: {text}")

    def stats(self) -> dict[str, Any]:
        return {**self._counts, "watched": len(self._patients)}
