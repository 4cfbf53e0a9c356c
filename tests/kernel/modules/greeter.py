"""A service as a site would write its first one."""

import os

import msgspec

from flux.errors import FluxError
from flux.module import USER, Module, event, request


class Who(msgspec.Struct):
    who: str
    times: int = 1


class Options(msgspec.Struct):
    greeting: str = "hello"


class Greeter(Module):
    """Say hello, and count."""

    name = "greeter"
    options_type = Options

    def __init__(self) -> None:
        self.count = 0
        self.heard: list[str] = []

    @request("hello", allow=USER)
    def hello(self, msg):
        self.count += 1
        return {"text": f"{self.options.greeting}, {msg.payload['who']}"}

    @request("typed", payload=Who)
    def typed(self, msg, req):
        return {"text": req.who * req.times}

    @request("slow")
    async def slow(self, msg):
        await self.flux.rpc("broker.ping", {})
        return {"rank": self.rank, "pid": os.getpid()}

    @request("stream", streaming=True)
    async def stream(self, msg):
        for i in range(3):
            yield {"i": i}

    @request("forever", streaming=True)
    async def forever(self, msg):
        yield {"i": 0}
        await self.flux.loop.create_future()

    @request("stuck")
    async def stuck(self, msg):
        await self.flux.loop.create_future()

    @request("bug")
    def bug(self, msg):
        return {"never": 1 / 0}

    @request("refuse")
    def refuse(self, msg):
        raise FluxError(17, "there is one already")

    @event("greeter.note")
    def note(self, msg):
        self.heard.append(msg.payload["text"])

    @request("heard")
    def what_was_heard(self, msg):
        return {"heard": self.heard}

    def stats(self):
        return {"greeted": self.count}
