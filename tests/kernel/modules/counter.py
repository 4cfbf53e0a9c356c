"""Modules that write down what they serve, to be exchanged for one another."""

import os

import msgspec

from flux.errors import FluxError
from flux.module import DEFERRED, Module, event, request


class Options(msgspec.Struct):
    file: str
    fail: bool = False


class Counter(Module):
    """Answers with its generation, and notes each request in a file."""

    name = "counter"
    provides = ("tally",)
    options_type = Options

    def start(self) -> None:
        if self.options.fail:
            raise FluxError(22, "told to fail")
        self.out = os.open(self.options.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    @event("counter.tick")
    def tick(self, msg):
        with open(self.options.file + ".events", "a") as events:
            events.write(f"{msg.payload['id']}\n")

    @request("count")
    def count(self, msg):
        return self._note(msg)

    @request("later")
    async def later(self, msg):
        await self.flux.rpc("broker.ping", {})
        return self._note(msg)

    @request("add", service="tally")
    def add(self, msg):
        return self._note(msg)

    @request("never", streaming="optional")
    def never(self, msg):
        return DEFERRED

    def _note(self, msg):
        os.write(self.out, f"{msg.payload['id']}\n".encode())
        return {"id": msg.payload["id"], "by": self.runner.uuid}
