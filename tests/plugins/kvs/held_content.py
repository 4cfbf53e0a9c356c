"""A content service that keeps what it is given at once, and says so only once it is let go (content-held.release)."""

from __future__ import annotations

import asyncio
from typing import Any

from flux.message import Message
from flux.module import event, request
from flux_plugins.content.module import Content, StoreBatch


class HeldContent(Content):
    name = "content"

    def start(self) -> None:
        self._free = asyncio.Event()
        self._free.set()
        super().start()

    @event("content-held.")
    def hold(self, msg: Message) -> None:
        (self._free.clear if msg.topic == "content-held.hold" else self._free.set)()

    @request("store-batch", payload=StoreBatch)
    async def store_batch(self, msg: Message, req: StoreBatch) -> Any:
        answer = super().store_batch(msg, req)
        await self._free.wait()
        return await answer if asyncio.iscoroutine(answer) else answer
