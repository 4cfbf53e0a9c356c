"""A module of which only one may run at a time, as with a database that is locked."""

import os

import msgspec

from flux.errors import FluxError
from flux.module import Module, event, request


class Options(msgspec.Struct):
    file: str
    fail: bool = False


class Exclusive(Module):
    """Holds a lock file while it runs."""

    name = "counter"
    provides = ("tally",)
    options_type = Options

    def start(self) -> None:
        self.lock = self.options.file + ".lock"
        if self.options.fail:
            raise FluxError(22, "told to fail")
        os.close(os.open(self.lock, os.O_CREAT | os.O_EXCL))
        self.out = os.open(self.options.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def stop(self) -> None:
        os.close(self.out)
        os.unlink(self.lock)

    @event("counter.tick")
    def tick(self, msg):
        with open(self.options.file + ".events", "a") as events:
            events.write(f"{msg.payload['id']}\n")

    @request("count")
    def count(self, msg):
        os.write(self.out, f"{msg.payload['id']}\n".encode())
        return {"id": msg.payload["id"], "by": self.runner.uuid}

    @request("add", service="tally")
    def add(self, msg):
        return self.count(msg)
