"""Clients that wait for this broker to run, or follow its states."""

from __future__ import annotations

import errno

from flux.errors import FluxError
from flux.message import Message
from flux.module import Module, Subscribers
from flux_plugins.state_machine.machine import State

__all__ = ["Followers"]


class Followers:
    """Answers them as the state changes.

    Args:
        module: the service that they asked.
    """

    def __init__(self, module: Module) -> None:
        self._module = module
        self._waiting: list[Message] = []
        self._finals: dict[tuple[str, int], int] = {}
        self._streams = Subscribers(module, on_drop=self._forget)

    def wait(self, msg: Message, state: State) -> None:
        """Answer at once, or when the broker gets to RUN; ENOENT when it is past it."""
        if state < State.RUN:
            self._waiting.append(msg)
        else:
            self._answer_wait(msg, state)

    def follow(self, msg: Message, state: State, final: int) -> None:
        """Tell this state and each one that comes, and end the stream with the state `final` or one after it."""
        self._module.respond(msg, {"state": int(state)})
        if state >= final:
            raise FluxError(errno.ENODATA)
        self._finals[msg.sender, msg.matchtag] = final
        self._streams.add(msg)

    def tell(self, state: State) -> None:
        """The broker has come to another state."""
        for msg in self._streams:
            self._module.respond(msg, {"state": int(state)})
            if state >= self._finals[msg.sender, msg.matchtag]:
                self._streams.discard(msg)
                self._forget(msg)
                self._module.flux.respond_error(msg, errno.ENODATA)
        if state >= State.RUN:
            waiting, self._waiting = self._waiting, []
            for msg in waiting:
                self._answer_wait(msg, state)

    def drop(self, sender: str) -> None:
        """This client went away."""
        self._waiting = [msg for msg in self._waiting if msg.sender != sender]

    def end(self) -> None:
        """There will be no other state."""
        self._streams.end()

    def _answer_wait(self, msg: Message, state: State) -> None:
        if state is State.RUN:
            self._module.respond(msg)
        else:
            self._module.flux.respond_error(msg, errno.ENOENT, "broker has surpassed RUN state")

    def _forget(self, msg: Message) -> None:
        del self._finals[msg.sender, msg.matchtag]
