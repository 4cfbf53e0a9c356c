"""Ranks above 0: hold roots that rank 0 announced, relay commits to it, answer them when it has.

A commit, or its answer, may be lost on its way with a broker: then it is relayed once more. Rank 0 knows a transaction
by its name and commits it once.
"""

from __future__ import annotations

import asyncio
import errno
import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from flux.core.steady import SteadyRPC
from flux.errors import FluxError
from flux.failpoint import failpoint
from flux.future import Future
from flux.message import Message
from flux_plugins.kvs.namespaces import Namespace, Unknown
from flux_plugins.kvs.requests import SetrootEvent

if TYPE_CHECKING:
    from flux_plugins.kvs.module import Kvs

__all__ = ["Follower"]


class Follower:
    """What this rank knows of the namespaces that somebody here has used.

    Args:
        kvs: the module; gives handle, rank and answers.
    """

    def __init__(self, kvs: Kvs) -> None:
        self.kvs = kvs
        self.namespaces: dict[str, Namespace] = {}
        self.pending: dict[str, Message] = {}
        self._origin = uuid4().hex[:8]
        self._fetching: dict[str, asyncio.Future[None]] = {}
        self._paused: dict[str, list[Callable[[], None]]] = {}
        self._count = 0

    def open(self, name: str) -> Namespace:
        """Raises Unknown when rank 0 has to be asked first: see `fetch`."""
        namespace = self.namespaces.get(name)
        if namespace is None:
            raise Unknown(name)
        return namespace

    newest = open

    # -- learning of a namespace

    async def fetch(self, name: str) -> None:
        """Ask rank 0 for a namespace. FluxError ENOTSUP when there is none of that name."""
        fetching = self._fetching.get(name)
        if fetching is None:
            fetching = self._fetching[name] = self.kvs.flux.loop.create_future()
            fetching.add_done_callback(_retrieve)
            self._ask_root(name).then(self._fetched, name, fetching)
        await asyncio.shield(fetching)

    def _ask_root(self, name: str) -> SteadyRPC:
        flux = self.kvs.flux
        return SteadyRPC(flux, lambda: flux.rpc("kvs.getroot", {"namespace": name, "flags": 0}, nodeid=0))

    def _fetched(self, request: Future, name: str, fetching: asyncio.Future[None]) -> None:
        if self._fetching.get(name) is not fetching:
            return  # an event has told meanwhile
        del self._fetching[name]
        try:
            root = request.get()
        except FluxError as exc:
            fetching.set_exception(exc)
            return
        self.namespaces[name] = Namespace(name, root["owner"], root["rootref"], root["rootseq"], root["flags"])
        fetching.set_result(None)

    # -- committing

    def relay(self, msg: Message, namespace: str, ops: list[Any], flags: int) -> None:
        """Have rank 0 commit a transaction, and answer the request as it does."""
        self._count += 1
        name = f"transaction_req.{self.kvs.rank}.{self._origin}.{self._count}"
        payload = {"ops": ops, "name": name, "namespace": namespace, "flags": flags}
        self.pending[name] = msg
        failpoint("kvs.relay")
        flux = self.kvs.flux
        relayed = SteadyRPC(flux, lambda: flux.rpc("kvs.relaycommit", payload, nodeid=0), patience=math.inf)
        relayed.then(self._relayed, name, namespace)

    def _relayed(self, answer: Future, name: str, namespace: str) -> None:
        if namespace in self._paused:
            self._paused[namespace].append(partial(self._relayed, answer, name, namespace))
            return
        msg = self.pending.pop(name, None)
        if msg is None:
            return  # answered by `stop`
        try:
            root = answer.get()
        except FluxError as exc:
            self.kvs.respond_error(msg, exc)
            return
        if namespace in self.namespaces:
            self._advance(self.namespaces[namespace], root["rootref"], root["rootseq"])
        self.kvs.respond(msg, root)

    def _advance(self, namespace: Namespace, rootref: str, rootseq: int) -> None:
        if rootseq > namespace.rootseq:
            for msg in namespace.advance(rootref, rootseq):
                self.kvs.respond(msg, namespace.root())

    def resync(self) -> None:
        """Events are lost to this rank: ask for what they may have told."""
        for name in self.namespaces:
            self._ask_root(name).then(self._resynced, name)

    def _resynced(self, request: Future, name: str) -> None:
        try:
            root = request.get()
        except FluxError as exc:
            if exc.errno == errno.ENOTSUP:
                self._on_removed(name)
            else:
                self.kvs.log.error("the root of a namespace is not known any more", namespace=name, error=str(exc))
                self.namespaces.pop(name, None)
            return
        self._on_setroot(name, SetrootEvent(name, root["rootseq"], root["rootref"], root["owner"]))

    # -- events

    def on_event(self, msg: Message) -> None:
        """Take a kvs.namespace-NAME-WHAT event; those of namespaces nobody here cares for are not even decoded."""
        name, _, what = msg.topic.removeprefix("kvs.namespace-").rpartition("-")
        if name not in self.namespaces and name not in self._fetching:
            return
        if what == "setroot":
            self._on_setroot(name, msg.decode(SetrootEvent))
        elif what == "removed":
            self._on_removed(name)

    # -- standing still, for tests

    def pause(self, name: str) -> None:
        """Leave new roots of a namespace aside until `unpause`, as if their events were late."""
        self._paused.setdefault(name, [])

    def unpause(self, name: str) -> None:
        """Go through the roots that were left aside."""
        for take in self._paused.pop(name, ()):
            take()

    def _on_setroot(self, name: str, event: SetrootEvent) -> None:
        if name in self._paused:
            self._paused[name].append(partial(self._on_setroot, name, event))
            return
        namespace = self.namespaces.get(name)
        if namespace is None and (fetching := self._fetching.pop(name, None)) is not None:
            namespace = self.namespaces[name] = Namespace(name, event.owner, event.rootref, event.rootseq)
            fetching.set_result(None)
        if namespace is not None:
            self._advance(namespace, event.rootref, event.rootseq)

    def _on_removed(self, name: str) -> None:
        self.unpause(name)
        gone = FluxError(errno.ENOTSUP, f"namespace {name} was removed")
        if (fetching := self._fetching.pop(name, None)) is not None:
            fetching.set_exception(gone)
        if (namespace := self.namespaces.pop(name, None)) is not None:
            for msg in namespace.waiting():
                self.kvs.respond_error(msg, gone)

    def stop(self) -> None:
        """Answer what waits."""
        waiting = [msg for namespace in self.namespaces.values() for msg in namespace.waiting()]
        for msg in [*waiting, *self.pending.values()]:
            self.kvs.flux.respond_error(msg, errno.ENOSYS, "the kvs module is being unloaded")
        self.pending.clear()


def _retrieve(fetching: asyncio.Future[None]) -> None:
    """Mark the error as seen: whoever waited may have gone away."""
    if not fetching.cancelled():
        fetching.exception()
