"""The kvs module: lookups on every rank, commits on rank 0 (flux-kvs(1), RFC 11).

A handler that finds everything in memory answers at once; else the same attempt is made again after what it missed
has been loaded. `kvs.fetch` is private to kvs-watch, `kvs.load-path` to this module, `kvs.guest-begin` and
`kvs.guest-end` to job-exec; `kvs.dropcache` is for tests.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from flux.constants import FLUX_KVS_SYNC, KVS_PRIMARY_NAMESPACE
from flux.errors import FluxError, ProtocolError
from flux.kvs.hdir import MAXDIRENT
from flux.message import ROLE_OWNER, Message
from flux.module import DEFERRED, USER, Module, event, request
from flux_plugins.kvs.cache import TreeCache
from flux_plugins.kvs.fence import Fences
from flux_plugins.kvs.follower import Follower
from flux_plugins.kvs.guests import begin_guest, end_guest
from flux_plugins.kvs.leader import Leader
from flux_plugins.kvs.loader import Loader
from flux_plugins.kvs.lookup import find, lookup, value_blobs
from flux_plugins.kvs.namespaces import Namespace, may_use
from flux_plugins.kvs.paths import Paths
from flux_plugins.kvs.requests import (
    CommitRequest,
    FenceRequest,
    FetchRequest,
    Guest,
    LookupRequest,
    NamespaceCreate,
    NamespaceName,
    RelayRequest,
    WaitVersion,
)
from flux_plugins.kvs.transaction import Transaction, check_ops

__all__ = ["Kvs", "Options"]

_MAXDIRENT = "kvs.maxdirent"
_LEADER_CACHE = 64 << 20
_CACHE = 16 << 20


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of the kvs module.

    Attributes:
        cache_size: bytes of memory for directories and values that were used lately; 0: 64 MiB on rank 0, which
            commits, and 16 MiB elsewhere.
    """

    cache_size: int = 0


class Kvs(Module):
    """The key-value store."""

    name = "kvs"
    options_type = Options
    requires = ("content",)
    after = ("content", "content-sqlite")

    async def start(self) -> None:
        if self.options.cache_size < 0:
            raise FluxError(errno.EINVAL, f"cache_size is a number of bytes, not {self.options.cache_size}")
        limit = self.options.cache_size or (_LEADER_CACHE if self.rank == 0 else _CACHE)
        self.cache = TreeCache(limit // 4, limit - limit // 4)
        self.hash_name = await self.flux.attr_get("content.hash")
        self.maxdirent = self._choose_maxdirent()
        self.fences = Fences(self)
        self.loader = Loader(self)
        self.paths = Paths(self)
        self.leader: Leader | None = None
        self.follower: Follower | None = None
        if self.rank == 0:
            self.leader = Leader(self)
            await self.leader.start()
        else:
            self.follower = Follower(self)
            await self.event_subscribe("kvs.namespace-", self.follower.on_event)
        self.known: Leader | Follower = self.leader or self.follower  # type: ignore[assignment]

    def _choose_maxdirent(self) -> int:
        """Most entries of a directory that is stored whole; 0 is no limit (attribute kvs.maxdirent)."""
        attrs = self.attrs if self.broker is None else self.broker.attrs
        text = attrs.get(_MAXDIRENT) or str(MAXDIRENT)
        if not text.isdecimal():
            raise FluxError(errno.EINVAL, f"{_MAXDIRENT} is a number of directory entries, or 0, not {text!r}")
        if self.broker is not None:
            self.broker.attrs.set(_MAXDIRENT, text, immutable=True)
        return int(text)

    async def stop(self) -> None:
        self.fences.stop()
        if self.leader is not None:
            await self.leader.stop()
        elif self.follower is not None:
            self.follower.stop()

    def _root_of(self, userid: int, rolemask: int, name: str) -> str:
        return self._open(name, userid, rolemask).rootref

    def _open(self, name: str, userid: int, rolemask: int) -> Namespace:
        namespace = self.known.newest(name)
        may_use(namespace, userid, rolemask)
        return namespace

    # -- reading

    @request("lookup", allow=USER, payload=LookupRequest)
    def lookup(self, msg: Message, req: LookupRequest) -> Any:
        root = self._lookup_root(msg, req)
        return self.loader.attempt(lambda: {"val": self._look_up(msg, req, root()[0])})

    @request("lookup-plus", allow=USER, payload=LookupRequest)
    def lookup_plus(self, msg: Message, req: LookupRequest) -> Any:
        root = self._lookup_root(msg, req)
        return self.loader.attempt(lambda: self._look_up_with_root(msg, req, *root()))

    def _look_up_with_root(self, msg: Message, req: LookupRequest, rootref: str, rootseq: int) -> dict[str, Any]:
        answer: dict[str, Any] = {"rootref": rootref, "rootseq": rootseq}
        try:
            answer["val"] = self._look_up(msg, req, rootref)
        except FileNotFoundError:
            answer["errno"] = errno.ENOENT
        return answer

    def _look_up(self, msg: Message, req: LookupRequest, rootref: str) -> dict[str, Any]:
        return lookup(self.cache, rootref, req.key, req.flags, partial(self._root_of, msg.userid, msg.rolemask))

    def _lookup_root(self, msg: Message, req: LookupRequest) -> Callable[[], tuple[str, int]]:
        """Gives (rootref, rootseq) of a lookup: the same one however often the lookup is tried."""
        if req.rootdir is not None:
            fixed = (_snapshot_root(msg, req), req.rootseq)
            return lambda: fixed
        if req.namespace is None:
            raise ProtocolError("a lookup needs a namespace or a rootdir")
        namespace: str = req.namespace
        roots: list[tuple[str, int]] = []

        def root() -> tuple[str, int]:
            if not roots:
                opened = self._open(namespace, msg.userid, msg.rolemask)
                roots.append((opened.rootref, opened.rootseq))
            return roots[0]

        return root

    @request("fetch", payload=FetchRequest)
    def fetch(self, msg: Message, req: FetchRequest) -> Any:
        root_of = partial(self._root_of, req.userid, req.rolemask)

        def fetch() -> dict[str, Any]:
            if req.offset is None:
                return {"val": lookup(self.cache, req.rootref, req.key, req.flags, root_of)}
            entry = find(self.cache, req.rootref, req.key, root_of)
            return value_blobs(self.cache, entry, req.offset, req.ahead, self.hash_name)._asdict()

        return self.loader.attempt(fetch)

    @request("load-path")
    def load_path(self, msg: Message) -> Any:
        return self.paths.answer(msg.raw or b"")

    @request("getroot", allow=USER, payload=NamespaceName)
    def getroot(self, msg: Message, req: NamespaceName) -> Any:
        def getroot() -> dict[str, Any]:
            opened = self._open(req.namespace, msg.userid, msg.rolemask)
            opened.told = True
            return {"owner": opened.owner, "flags": opened.flags, "namespace": opened.name, **opened.root()}

        return self.loader.attempt(getroot)

    @request("wait-version", allow=USER, payload=WaitVersion)
    def wait_version(self, msg: Message, req: WaitVersion) -> Any:
        def wait() -> Any:
            opened = self._open(req.namespace, msg.userid, msg.rolemask)
            if opened.rootseq >= req.rootseq:
                return opened.root()
            opened.wait(req.rootseq, msg)
            return DEFERRED

        return self.loader.attempt(wait)

    # -- writing

    @request("commit", allow=USER, payload=CommitRequest)
    def commit(self, msg: Message, req: CommitRequest) -> Any:
        guest = not msg.rolemask & ROLE_OWNER
        edits = check_ops(req.ops, guest)
        if self.leader is not None:
            namespace = self.leader.open(req.namespace)
            may_use(namespace, msg.userid, msg.rolemask)
            transaction = Transaction(self.leader.next_name(), edits, req.flags, msg)
            _check_sync(transaction, req.namespace)
            self.leader.submit(namespace, transaction)
            return DEFERRED
        if guest:
            return self.loader.attempt(
                lambda: self._relay(msg, req, self._open(req.namespace, msg.userid, msg.rolemask).name)
            )
        return self._relay(msg, req, req.namespace)

    def _relay(self, msg: Message, req: CommitRequest, namespace: str) -> Any:
        assert self.follower is not None
        if req.flags & FLUX_KVS_SYNC:
            return self._ask_leader(msg)
        self.follower.relay(msg, namespace, (msg.payload or {})["ops"], req.flags)
        return DEFERRED

    @request("relaycommit", payload=RelayRequest)
    def relaycommit(self, msg: Message, req: RelayRequest) -> Any:
        if self.leader is None:
            raise FluxError(errno.EINVAL, "transactions are relayed to rank 0")
        if self.leader.relays.is_known(req.name):
            return self.leader.relays.answer_again(req.name, msg)
        transaction = Transaction(req.name, check_ops(req.ops, guest=False), req.flags, msg)
        self.leader.take_relayed(req.namespace, transaction)
        return DEFERRED

    @request("fence", allow=USER, payload=FenceRequest)
    def fence(self, msg: Message, req: FenceRequest) -> Any:
        if self.leader is None:
            return self.fences.pass_on(msg, req)
        user = self.fences.user_of(msg, req)
        may_use(self.leader.open(req.namespace), *user)
        self.fences.enter(msg, req, guest=not user.rolemask & ROLE_OWNER)
        return DEFERRED

    # -- namespaces

    @request("namespace-create", payload=NamespaceCreate)
    def namespace_create(self, msg: Message, req: NamespaceCreate) -> Any:
        if self.leader is None:
            return self._ask_leader(msg)
        owner = req.owner if 0 <= req.owner < 0xFFFFFFFF else msg.userid
        self.leader.create(req.namespace, req.rootref, owner, req.flags)
        return None

    @request("namespace-remove", payload=NamespaceName)
    def namespace_remove(self, msg: Message, req: NamespaceName) -> Any:
        if self.leader is None:
            return self._ask_leader(msg)
        self.leader.remove(req.namespace)
        return None

    @request("guest-begin", payload=Guest)
    def guest_begin(self, msg: Message, req: Guest) -> Any:
        return self._ask_leader(msg) if self.leader is None else begin_guest(self.leader, req)

    @request("guest-end", payload=Guest)
    async def guest_end(self, msg: Message, req: Guest) -> Any:
        return await (self._ask_leader(msg) if self.leader is None else end_guest(self.leader, req))

    @request("namespace-list")
    def namespace_list(self, msg: Message) -> Any:
        if self.leader is None:
            return self._ask_leader(msg)
        namespaces = self.leader.namespaces.values()
        return {"namespaces": [{"namespace": ns.name, "owner": ns.owner, "flags": ns.flags} for ns in namespaces]}

    # -- for tests

    @request("setroot-pause", allow=USER, payload=NamespaceName)
    def setroot_pause(self, msg: Message, req: NamespaceName) -> Any:
        return self.loader.attempt(lambda: self._pausable(msg, req).pause(req.namespace))

    @request("setroot-unpause", allow=USER, payload=NamespaceName)
    def setroot_unpause(self, msg: Message, req: NamespaceName) -> Any:
        return self.loader.attempt(lambda: self._pausable(msg, req).unpause(req.namespace))

    def _pausable(self, msg: Message, req: NamespaceName) -> Follower:
        """Who follows a namespace here, which the caller may use."""
        if self.follower is None:
            raise FluxError(errno.EINVAL, "rank 0 makes the roots: only other ranks can be late with them")
        self._open(req.namespace, msg.userid, msg.rolemask)
        return self.follower

    async def _ask_leader(self, msg: Message) -> Any:
        return await self.flux.rpc(msg.topic, msg.payload, nodeid=0)

    # -- events, statistics

    @event("event.lost")
    @event("overlay.resync")
    @event("kvs.resync")
    def on_resync(self, _msg: Message) -> None:
        if self.follower is not None:
            self.follower.resync()

    @event("content.full")
    def on_content_full(self, msg: Message) -> None:
        if self.leader is not None:
            self.leader.read_only = bool(msg.payload["full"])

    @request("dropcache")
    def dropcache(self, msg: Message) -> None:
        self.cache.drop()

    @event("kvs.dropcache")
    def on_dropcache(self, msg: Message) -> None:
        self.cache.drop()

    def disconnected(self, sender: str) -> None:
        for namespace in self.known.namespaces.values():
            namespace.forget_sender(sender)

    def stats(self) -> dict[str, Any]:
        namespaces = self.known.namespaces
        counts = self.leader.merged.as_dict() if self.leader is not None else {}
        return {
            "cache": self.cache.stats(),
            "namespace": {name: namespace.stats() for name, namespace in namespaces.items()},
            "transaction-opcount": {"commit": counts},
            "pending_requests": sum(len(namespace.waiting()) for namespace in namespaces.values()),
        }

    def stats_clear(self) -> None:
        if self.leader is not None:
            self.leader.merged.clear()


def _snapshot_root(msg: Message, req: LookupRequest) -> str:
    rootdir = req.rootdir or {}
    if rootdir.get("type") != "dirref" or not isinstance(rootdir.get("data"), list) or len(rootdir["data"]) != 1:
        raise FluxError(errno.EINVAL, "rootdir must be a dirref with one blobref")
    if not msg.rolemask & ROLE_OWNER:
        raise FluxError(errno.EPERM, "only the instance owner may look keys up in a snapshot")
    return str(rootdir["data"][0])


def _check_sync(transaction: Transaction, namespace: str) -> None:
    if transaction.sync and namespace != KVS_PRIMARY_NAMESPACE:
        raise FluxError(errno.EINVAL, f"only the primary namespace can be synced to disk, not {namespace}")
