"""An execution service without shells (RFC 32), for tests of what is around it.

A job's command decides: ["exit", "N"] finishes with wait status N << 8, ["hold"] runs until it gets an exception,
["confused"] is answered with what RFC 32 does not allow before it finishes.
"""

from __future__ import annotations

from typing import Any

from flux.message import Message
from flux.module import DEFERRED, Module, event, request


class FakeExec(Module):
    name = "fake-exec"
    requires = ("job-manager",)
    after = ("job-manager",)

    def start(self) -> Any:
        self.running: dict[int, Message] = {}
        return self._hello()

    async def _hello(self) -> None:
        await self.flux.rpc("job-manager.exec-hello", {"service": "fake-exec"})

    def _answer(self, msg: Message, kind: str, **data: Any) -> None:
        self.respond(msg, {"id": msg.payload["id"], "type": kind, "data": data})

    @request("start", streaming=True)
    def start_job(self, msg: Message) -> Any:
        command = msg.payload["jobspec"]["tasks"][0]["command"]
        self._answer(msg, "reattached" if msg.payload["reattach"] else "start")
        if command[0] == "hold":
            self.running[msg.payload["id"]] = msg
        elif command[0] == "confused":
            self._answer(msg, "release")
            self._answer(msg, "finish", status=0)
            self._answer(msg, "nonsense")
            self._finish(msg, 0)
        else:
            self._finish(msg, int(command[1]) << 8)
        return DEFERRED

    def _finish(self, msg: Message, status: int) -> None:
        self._answer(msg, "finish", status=status)
        self._answer(msg, "release", ranks="all", final=True)

    @event("job-exception")
    def on_exception(self, msg: Message) -> None:
        held = self.running.pop(msg.payload["id"], None)
        if held is not None and msg.payload["severity"] == 0:
            self._finish(held, 15)
