"""The kvs-watch module: answers a lookup, and answers it again when a commit changes the key.

A setroot event costs one dictionary look per key that it names. Watchers that need the same thing of a new root
share one request to kvs, and those who follow appends fetch only the blobs they have not got, and some at a time: a
client that reads slowly costs no memory and loses nothing.
"""

from __future__ import annotations

import errno
from functools import partial
from typing import Any

import msgspec

from flux.constants import KVS_PRIMARY_NAMESPACE
from flux.core.steady import SteadyRPC
from flux.errors import EndOfStream, FluxError, as_flux_error
from flux.future import Future
from flux.message import ROLE_OWNER, Message
from flux.module import DEFERRED, USER, Module, Subscribers, event, request
from flux.module.congestion import congested_link
from flux.rpc import RPC
from flux_plugins.kvs_watch.namespace import WatchedNamespace
from flux_plugins.kvs_watch.requests import Blobs, Root, SetrootEvent, TakenRequest, WatchRequest
from flux_plugins.kvs_watch.watcher import Outcome, Watcher, check_flags

__all__ = ["KvsWatch"]

_PREFIX = "kvs.namespace-"


class KvsWatch(Module):
    """Watch keys of the KVS."""

    name = "kvs-watch"
    requires = ("kvs",)
    after = ("kvs",)

    def start(self) -> None:
        self._namespaces: dict[str, WatchedNamespace] = {}
        self._watchers: dict[tuple[str, int], tuple[WatchedNamespace, Watcher]] = {}
        self._fetches: dict[tuple[Any, ...], list[tuple[WatchedNamespace, Watcher]]] = {}
        self._requests = Subscribers(self, on_drop=self._dropped)

    # -- beginning and end of a watch

    @request("lookup", allow=USER, streaming="optional", payload=WatchRequest)
    def lookup(self, msg: Message, req: WatchRequest) -> Any:
        check_flags(req.flags, msg.is_streaming)
        namespace = self._namespaces.get(req.namespace) or self._open(req.namespace)
        watcher = Watcher(msg, _normalise(req.key), req.flags, req.window)
        if not namespace.rootref:
            namespace.starting.append(watcher)
        else:
            self._check_owner(namespace, msg)
            self._begin(namespace, watcher)
        self._watchers[msg.sender, msg.matchtag] = (namespace, watcher)
        self._requests.add(msg)
        return DEFERRED

    @request("taken", allow=USER, payload=TakenRequest)
    def taken(self, msg: Message, req: TakenRequest) -> None:
        found = self._watchers.get((msg.sender, req.matchtag))
        if found is not None:  # else it ended meanwhile
            namespace, watcher = found
            watcher.untaken = max(0, watcher.untaken - req.count)
            self._look(namespace, watcher)

    def _begin(self, namespace: WatchedNamespace, watcher: Watcher) -> None:
        namespace.add(watcher)
        watcher.add_root(namespace.rootref)
        self._look(namespace, watcher)

    def _check_owner(self, namespace: WatchedNamespace, msg: Message) -> None:
        if not msg.rolemask & ROLE_OWNER and msg.userid != namespace.owner:
            raise FluxError(errno.EPERM, f"namespace {namespace.name} belongs to another user")

    def _dropped(self, msg: Message) -> None:
        """The client has gone away or has cancelled."""
        namespace, watcher = self._watchers.pop((msg.sender, msg.matchtag))
        self._forget(namespace, watcher)

    def _end(self, namespace: WatchedNamespace, watcher: Watcher, error: FluxError | None) -> None:
        msg = watcher.msg
        self._watchers.pop((msg.sender, msg.matchtag), None)
        self._requests.discard(msg)
        if isinstance(error, EndOfStream):
            self.flux.respond_error(msg, errno.ENODATA)
        elif error is not None:
            self.respond_error(msg, error)
        self._forget(namespace, watcher)

    def _forget(self, namespace: WatchedNamespace, watcher: Watcher) -> None:
        watcher.ended = True
        namespace.discard(watcher)
        idle = not namespace and namespace.name != KVS_PRIMARY_NAMESPACE
        if idle and self._namespaces.get(namespace.name) is namespace:
            del self._namespaces[namespace.name]

    # -- namespaces

    def _open(self, name: str) -> WatchedNamespace:
        namespace = self._namespaces[name] = WatchedNamespace(name)
        self.flux.rpc("kvs.getroot", {"namespace": name, "flags": 0}).then(self._opened, namespace)
        return namespace

    def _opened(self, answer: RPC, namespace: WatchedNamespace) -> None:
        try:
            root = answer.get_as(Root)
        except FluxError as exc:
            if not namespace.rootref:
                self._close(namespace, exc)
            return
        if namespace.set_root(root.rootref, root.rootseq, root.owner):
            self._start_waiting(namespace)

    def _start_waiting(self, namespace: WatchedNamespace) -> None:
        starting, namespace.starting = namespace.starting, []
        for watcher in starting:
            try:
                self._check_owner(namespace, watcher.msg)
            except FluxError as exc:
                self._end(namespace, watcher, exc)
            else:
                self._begin(namespace, watcher)

    def _close(self, namespace: WatchedNamespace, error: FluxError, is_seen_whole: bool = False) -> None:
        """End the watches. is_seen_whole: of each commit there was, an event has come."""
        if self._namespaces.get(namespace.name) is namespace:
            del self._namespaces[namespace.name]
        for watcher in namespace:
            end = EndOfStream() if is_seen_whole and watcher.window and watcher.offset else error
            if watcher.is_behind:
                watcher.closing = end
            else:
                self._end(namespace, watcher, end)

    @event(_PREFIX)
    def on_event(self, msg: Message) -> None:
        name, _, what = msg.topic[len(_PREFIX) :].rpartition("-")
        namespace = self._namespaces.get(name)
        if namespace is None:
            return
        if what == "setroot":
            self._on_setroot(namespace, msg.decode(SetrootEvent))
        elif what == "removed":
            self._close(namespace, FluxError(errno.ENOTSUP, f"namespace {name} was removed"), is_seen_whole=True)

    def _on_setroot(self, namespace: WatchedNamespace, root: SetrootEvent) -> None:
        if not namespace.set_root(root.rootref, root.rootseq, root.owner):
            return
        for watcher in namespace.concerned(root.keys):
            watcher.add_root(root.rootref)
            self._look(namespace, watcher)
        if namespace.starting:
            self._start_waiting(namespace)

    @event("event.lost")
    @event("overlay.resync")
    @event("kvs.resync")
    def on_resync(self, _msg: Message) -> None:
        """Events are lost, to this rank or to this module in a process of its own, or the KVS of rank 0 has begun
        anew: ask for what they may have told.
        """
        for namespace in list(self._namespaces.values()):
            request = {"namespace": namespace.name, "flags": 0}
            SteadyRPC(self.flux, partial(self.flux.rpc, "kvs.getroot", request, 0)).then(self._resynced, namespace)

    def _resynced(self, answer: Future, namespace: WatchedNamespace) -> None:
        try:
            root = msgspec.convert(answer.get(), Root)
        except FluxError as exc:
            self._close(namespace, exc)
            return
        if not namespace.set_root(root.rootref, root.rootseq, root.owner):
            return
        for watcher in [watcher for watcher in namespace if watcher not in namespace.starting]:
            watcher.add_root(root.rootref)
            self._look(namespace, watcher)
        self._start_waiting(namespace)

    # -- looking at a root

    def _look(self, namespace: WatchedNamespace, watcher: Watcher) -> None:
        """Look the key up as of the watcher's next root, when it has one and does not wait for anything."""
        if not watcher.may_look:
            if watcher.closing is not None and not watcher.is_behind and not watcher.ended:
                self._end(namespace, watcher, watcher.closing)
            return
        watcher.busy = True
        msg = watcher.msg
        request = {
            "rootref": watcher.roots.popleft(),
            "key": watcher.key,
            "flags": watcher.lookup_flags,
            "offset": watcher.offset,
            "userid": msg.userid,
            "rolemask": msg.rolemask,
            "ahead": watcher.ahead,
        }
        same = tuple(request.values())
        waiting = self._fetches.get(same)
        if waiting is None:
            self._fetches[same] = [(namespace, watcher)]
            self.flux.rpc("kvs.fetch", request).then(self._fetched, same)
        else:
            waiting.append((namespace, watcher))

    def _fetched(self, answer: RPC, same: tuple[Any, ...]) -> None:
        result = _outcome_of(answer, by_blobs=same[3] is not None)
        for namespace, watcher in self._fetches.pop(same):
            if not watcher.ended:
                self._tell(namespace, watcher, _apply(watcher, result, same[0]))
                self._go_on(namespace, watcher)

    def _go_on(self, namespace: WatchedNamespace, watcher: Watcher) -> None:
        """Look at the next root, once the client has taken what it was told."""
        link = congested_link(self, watcher.msg)
        watcher.busy = link is not None
        if link is not None:
            link.when_drained(partial(self._go_on, namespace, watcher))
        else:
            self._look(namespace, watcher)

    def _tell(self, namespace: WatchedNamespace, watcher: Watcher, outcome: Outcome) -> None:
        for payload in outcome.responses:
            self.respond(watcher.msg, payload)
        if outcome.error is not None or outcome.done:
            self._end(namespace, watcher, outcome.error)

    def stats(self) -> dict[str, Any]:
        return {
            "watchers": len(self._watchers),
            "namespace-count": len(self._namespaces),
            "namespaces": {name: namespace.stats() for name, namespace in self._namespaces.items()},
        }


def _outcome_of(answer: RPC, by_blobs: bool) -> Any:
    try:
        return answer.get_as(Blobs) if by_blobs else answer.get()["val"]
    except OSError as exc:
        return as_flux_error(exc)


def _apply(watcher: Watcher, result: Any, rootref: str) -> Outcome:
    if isinstance(result, FluxError):
        return watcher.on_error(result)
    if isinstance(result, Blobs):
        return watcher.on_blobs(result, rootref)
    return watcher.on_value(result)


def _normalise(key: str) -> str:
    """The spelling in which setroot events name a key. FluxError EINVAL when it is empty."""
    if not key:
        raise FluxError(errno.EINVAL, "a key cannot be empty")
    return ".".join(part for part in key.split(".") if part) or "."
