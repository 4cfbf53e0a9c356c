"""Rank 0: commits transactions, owns the namespaces, tells every rank about new roots.

The namespace of a job is told of once somebody has asked for its root: few are of interest to another than its shells,
which only write.

Transactions that arrive in one loop turn are merged into one root per namespace, and everything they have to store
goes to the content service in one request, which is sent before anyone is told of the root: whoever loads a blob of it
asks after it was stored. What the service refuses stays here and is sent again with the next commit. It answers late
when the backing store is far behind; then commits wait, so that memory stays bounded.
"""

from __future__ import annotations

import asyncio
import errno
import time
from typing import TYPE_CHECKING, Any

import msgspec

from flux.constants import KVS_PRIMARY_NAMESPACE
from flux.content import digest_of
from flux.errors import FluxError
from flux.failpoint import failpoint
from flux.kvs.treeobj import EMPTY_DIR, blobref
from flux_plugins.kvs.cache import Missing
from flux_plugins.kvs.commit import RootUpdate, merge
from flux_plugins.kvs.namespaces import Namespace
from flux_plugins.kvs.periodic import Periodic
from flux_plugins.kvs.relays import Relays
from flux_plugins.kvs.requests import Checkpoint
from flux_plugins.kvs.stats import Counter
from flux_plugins.kvs.successor import leave, take_up
from flux_plugins.kvs.transaction import Edit, Transaction

if TYPE_CHECKING:
    from flux.message import Message
    from flux.rpc import RPC
    from flux_plugins.kvs.module import Kvs

__all__ = ["STORES_AT_ONCE", "Leader"]

STORES_AT_ONCE = 8
"""Batches of blobs on their way to the content service, while commits go on."""


class Leader:
    """The namespaces of the instance.

    Args:
        kvs: the module; gives handle, cache and answers.

    Attributes:
        unstored: blobs that the content service has refused, by blobref.
        read_only: the content service has said that its backing store is full.
    """

    def __init__(self, kvs: Kvs) -> None:
        self.kvs = kvs
        self.namespaces: dict[str, Namespace] = {}
        self.merged = Counter()
        self.unstored: dict[str, bytes] = {}
        self.read_only = False
        self.relays = Relays()
        self._ready: list[Namespace] = []
        self._patient: set[asyncio.Future[dict[str, Any]]] = set()
        self._crowded = False
        self._storing = 0
        self._behind = False
        self._count = 0
        self._loading: set[str] = set()

    # -- life cycle

    async def start(self) -> None:
        """Begin with the newest checkpoint whose root is there, else with an empty directory."""
        empty = blobref(EMPTY_DIR, self.kvs.hash_name)
        await self.kvs.flux.rpc("content.store-batch", {"blobs": [(digest_of(empty), EMPTY_DIR)]})
        self.kvs.cache.put_dir(empty, EMPTY_DIR)
        rootref, rootseq = await self._restore() or (empty, 0)
        owner = int(self.kvs.attrs["security.owner"])
        self.namespaces[KVS_PRIMARY_NAMESPACE] = Namespace(KVS_PRIMARY_NAMESPACE, owner, rootref, rootseq)
        self._periodic = Periodic(self)
        self.kvs.flux.event_send("kvs.resync", private=True)

    async def _restore(self) -> tuple[str, int] | None:
        try:
            answer = await self.kvs.flux.rpc("content.checkpoint-get", nodeid=0)
        except FluxError as exc:
            if exc.errno in (errno.ENOSYS, errno.ENOENT):
                return None
            raise
        on_record = msgspec.convert(answer["value"], list[Checkpoint])
        for checkpoint in on_record:
            try:
                await self.kvs.loader.load([checkpoint.rootref])
                self.kvs.cache.node(checkpoint.rootref)
            except FluxError as exc:
                self.kvs.log.error("a checkpoint cannot be used", rootref=checkpoint.rootref, error=str(exc))
                continue
            if checkpoint is on_record[0]:
                for namespace in take_up(self.kvs.attrs["broker.uuid"], checkpoint):
                    self.namespaces[namespace.name] = namespace
            newest = max(other.sequence for other in on_record)
            is_newest = checkpoint is on_record[0] and checkpoint.sequence == newest
            return checkpoint.rootref, newest if is_newest else newest + 1  # which no rank holds for an older one
        return None

    async def stop(self) -> None:
        """Commit what may be told as done already, answer what waits, then put the primary root on record."""
        self._periodic.stop()
        for namespace in self.namespaces.values():
            self._commit_queued(namespace)
        if self._patient:
            await asyncio.wait(self._patient)
        for namespace in self.namespaces.values():
            self._abandon(namespace, FluxError(errno.ENOSYS, "the kvs module is being unloaded"))
        try:
            await self.checkpoint(leave(self.kvs.attrs["broker.uuid"], self.namespaces.values()))
        except FluxError as exc:
            if exc.errno != errno.ENOSYS:
                self.kvs.log.error("the last KVS root could not be put on record", error=str(exc))

    async def checkpoint(self, more: dict[str, Any] | None = None) -> None:
        """Flush content and put the primary root on record, and more. FluxError ENOSYS without a backing store."""
        primary = self.namespaces[KVS_PRIMARY_NAMESPACE]
        value = {
            "version": 1,
            "rootref": primary.rootref,
            "sequence": primary.rootseq,
            "timestamp": time.time(),
            **(more or {}),
        }
        if self.unstored:
            self._store({})
        failpoint("kvs.checkpoint")
        await self.kvs.flux.rpc("content.checkpoint-put", {"value": value}, nodeid=0)

    # -- namespaces

    def open(self, name: str) -> Namespace:
        """FluxError ENOTSUP when there is no such namespace."""
        namespace = self.namespaces.get(name)
        if namespace is None:
            raise FluxError(errno.ENOTSUP, f"there is no namespace {name!r}")
        return namespace

    def newest(self, name: str) -> Namespace:
        """To read: what is patient in a namespace that nobody is told of is committed first.

        FluxError ENOTSUP; Missing when its root has to be loaded for that.
        """
        namespace = self.open(name)
        if namespace.queue and not namespace.told:
            self.kvs.cache.node(namespace.rootref)
            if namespace in self._ready:
                self._ready.remove(namespace)
            elif namespace.busy:
                return namespace  # what its commit needs is being loaded
            namespace.busy = True
            self._commit([namespace])  # also where others wait for the content service
        return namespace

    def create(self, name: str, rootref: str, owner: int, flags: int) -> None:
        """Make a namespace, and tell everyone. FluxError EEXIST, or EINVAL for a name or root that is none."""
        self.add(name, rootref, owner, flags, told=True)
        self._publish(name, "created", {"namespace": name, "rootseq": 0, "rootref": rootref, "owner": owner})

    def add(self, name: str, rootref: str, owner: int, flags: int, told: bool) -> None:
        """Make a namespace. Errors: `create`."""
        if not name:
            raise FluxError(errno.EINVAL, "a namespace needs a name")
        if name in self.namespaces:
            raise FluxError(errno.EEXIST, f"there is a namespace {name!r} already")
        digest_of(rootref)
        if not rootref.startswith(f"{self.kvs.hash_name}-"):
            raise FluxError(errno.EINVAL, f"{rootref} is no {self.kvs.hash_name} blobref, which this instance uses")
        self.namespaces[name] = Namespace(name, owner, rootref, flags=flags, told=told)

    def remove(self, name: str) -> None:
        """FluxError ENOTSUP for the primary namespace; one that is unknown is removed already."""
        if name == KVS_PRIMARY_NAMESPACE:
            raise FluxError(errno.ENOTSUP, "the primary namespace cannot be removed")
        namespace = self.namespaces.pop(name, None)
        if namespace is not None:
            self._abandon(namespace, FluxError(errno.ENOTSUP, f"namespace {name} was removed"))
            if namespace.told:
                self._publish(name, "removed", {"namespace": name})

    def _abandon(self, namespace: Namespace, error: FluxError) -> None:
        queue, namespace.queue = namespace.queue, []
        for msg in namespace.waiting():
            self.kvs.respond_error(msg, error)
        self._fail([(transaction, error) for transaction in queue])

    # -- commit

    def next_name(self) -> str:
        self._count += 1
        return f"transaction_req.0.{self._count}"

    def submit(self, namespace: Namespace, transaction: Transaction) -> None:
        """Commit a transaction at the end of this loop turn, with others of it. FluxError ENOSPC: no room for it."""
        self.need_room()
        self._enqueue(namespace, transaction)

    def need_room(self) -> None:
        """FluxError ENOSPC while there is no room for what is committed."""
        if self.read_only:
            raise FluxError(errno.ENOSPC, "the content backing store has no space left: the instance is read-only")

    def _enqueue(self, namespace: Namespace, transaction: Transaction) -> None:
        namespace.queue.append(transaction)
        if not namespace.busy:
            self._schedule(namespace)

    def make(self, namespace: Namespace, edits: list[Edit], patience: float = 0) -> asyncio.Future[dict[str, Any]]:
        """Commit a transaction of this module's own; gives the root to come. It is made even where there is no room.

        Args:
            patience: seconds that it waits for another commit of its namespace to go with.
        """
        loop = self.kvs.flux.loop
        outcome: asyncio.Future[dict[str, Any]] = loop.create_future()
        transaction = Transaction(self.next_name(), edits, 0, None, outcome)
        if not patience:
            self._enqueue(namespace, transaction)
            return outcome
        namespace.queue.append(transaction)
        self._patient.add(outcome)
        outcome.add_done_callback(self._patient.discard)
        loop.call_later(patience, self._lose_patience, namespace, outcome)
        return outcome

    def _lose_patience(self, namespace: Namespace, outcome: asyncio.Future[dict[str, Any]]) -> None:
        if not outcome.done():
            self._commit_queued(namespace)

    def _commit_queued(self, namespace: Namespace) -> None:
        if namespace.queue and not namespace.busy:
            self._schedule(namespace)

    def take_relayed(self, namespace: str, transaction: Transaction) -> None:
        """Commit a transaction of another rank. FluxError ENOTSUP, ENOSPC."""
        self.submit(self.open(namespace), transaction)
        self.relays.begin(transaction)

    def _schedule(self, namespace: Namespace) -> None:
        namespace.busy = True
        if not self._ready:
            self.kvs.flux.loop.call_soon(self._gather if self._crowded else self._commit_ready)
        self._ready.append(namespace)

    def _gather(self) -> None:
        """Of committers that wait for each other, let those join who were told of the commit before this one."""
        self.kvs.flux.loop.call_soon(self._commit_ready)

    def _commit_ready(self) -> None:
        if self._storing >= STORES_AT_ONCE:
            self._behind = True
            return
        ready, self._ready = self._ready, []
        self._commit(ready)

    def _commit(self, ready: list[Namespace]) -> None:
        failpoint("kvs.commit")
        updates: list[tuple[Namespace, RootUpdate]] = []
        blobs: dict[str, bytes] = {}
        for namespace in ready:
            update = self._merge(namespace)
            if update is not None:
                updates.append((namespace, update))
                blobs.update(update.blobs)
        if blobs:
            self._store(blobs)
        for namespace, update in updates:
            if update.rootref is not None:
                self._finish(namespace, update, update.rootref)
            self._fail(update.failed)
            self._go_on(namespace)

    def _store(self, blobs: dict[str, bytes]) -> None:
        """Send blobs to the content service, with those that it has refused before."""
        if self.unstored:
            blobs = {**self.unstored, **blobs}
            self.unstored = {}
        pairs = [(digest_of(ref), blob) for ref, blob in blobs.items()]
        failpoint("kvs.store")
        self._storing += 1
        self.kvs.flux.rpc("content.store-batch", {"blobs": pairs}).then(self._stored, blobs)

    def _stored(self, answer: RPC, blobs: dict[str, bytes]) -> None:
        self._storing -= 1
        if self._behind:
            self._behind = False
            self._commit_ready()
        try:
            answer.get()
            failpoint("kvs.stored")
        except FluxError as exc:
            self.unstored.update(blobs)
            self.kvs.log.error("blobs cannot be stored, they stay in memory", count=len(blobs), error=str(exc))

    def _merge(self, namespace: Namespace) -> RootUpdate | None:
        """Apply the next group of transactions; None when there is none or directories have to be loaded first."""
        if not namespace.queue:
            namespace.busy = False
            return None
        group = _next_group(namespace.queue)
        try:
            update = merge(namespace.rootref, group, self.kvs.cache, self.kvs.hash_name, self.kvs.maxdirent)
        except Missing as missing:
            self._loading.add(namespace.name)
            self.kvs.spawn(self._load(namespace, missing.refs), f"load for {namespace.name}")
            return None
        except FluxError as exc:
            update = RootUpdate(None, {}, {}, [], [(transaction, exc) for transaction in group])
        del namespace.queue[: len(group)]
        self._release(namespace)
        return update

    async def _load(self, namespace: Namespace, refs: list[str]) -> None:
        try:
            await self.kvs.loader.load(refs, self.kvs.cache.held)
        except FluxError as exc:
            self._release(namespace)
            group, namespace.queue = namespace.queue, []
            self._fail([(transaction, exc) for transaction in group])
        self._go_on(namespace)

    def _release(self, namespace: Namespace) -> None:
        """What was loaded for its commits has been used; once that is so for all namespaces, forget it."""
        if self._loading:
            self._loading.discard(namespace.name)
            if not self._loading:
                self.kvs.cache.held.clear()

    def _finish(self, namespace: Namespace, update: RootUpdate, rootref: str) -> None:
        """Tell everyone of the new root."""
        waiting = namespace.advance(rootref, namespace.rootseq + 1)
        self.merged.add(len(update.applied))
        self._crowded = len(update.applied) > 1
        failpoint("kvs.setroot")
        if namespace.told:
            self._publish_root(namespace, update)
        failpoint("kvs.answer")
        root = namespace.root()
        for msg in waiting:
            self.kvs.respond(msg, root)
        for transaction in update.applied:
            self.relays.end(transaction, root)
            if transaction.msg is None:
                transaction.end(root)
            elif transaction.sync:
                self.kvs.spawn(self._answer_synced(transaction.msg, root), "sync")
            else:
                self.kvs.respond(transaction.msg, root)

    async def _answer_synced(self, msg: Message, root: dict[str, Any]) -> None:
        try:
            await self.checkpoint()
        except FluxError as exc:
            self.kvs.respond_error(msg, exc)
        else:
            self.kvs.respond(msg, root)

    def _go_on(self, namespace: Namespace) -> None:
        if namespace.queue and self.namespaces.get(namespace.name) is namespace:
            self._schedule(namespace)
        else:
            self._release(namespace)
            namespace.busy = False

    def _fail(self, failed: list[tuple[Transaction, FluxError]]) -> None:
        for transaction, error in failed:
            self.relays.end(transaction, error)
            if transaction.msg is None:
                transaction.end(error)
            else:
                self.kvs.respond_error(transaction.msg, error)

    # -- events

    def _publish_root(self, namespace: Namespace, update: RootUpdate) -> None:
        payload = {
            "namespace": namespace.name,
            "rootseq": namespace.rootseq,
            "rootref": namespace.rootref,
            "names": [transaction.name for transaction in update.applied],
            "keys": update.keys,
            "owner": namespace.owner,
        }
        self._publish(namespace.name, "setroot", payload)

    def _publish(self, namespace: str, what: str, payload: dict[str, Any]) -> None:
        self.kvs.flux.event_send(f"kvs.namespace-{namespace}-{what}", payload, private=True)


def _next_group(queue: list[Transaction]) -> list[Transaction]:
    """Transactions to merge: all up to one that must not be; that one by itself."""
    for i, transaction in enumerate(queue):
        if not transaction.mergeable:
            return queue[: max(i, 1)]
    return list(queue)
