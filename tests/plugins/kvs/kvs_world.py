"""An instance and the model of what is in it, operation by operation: every answer and every error is compared."""

from __future__ import annotations

import copy
import errno
import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from kvs_model import Model, Refused, plain

import flux
from flux import kvs
from flux.constants import (
    FLUX_KVS_NO_MERGE,
    FLUX_KVS_READDIR,
    FLUX_KVS_READLINK,
    FLUX_KVS_TREEOBJ,
    FLUX_KVS_WATCH_APPEND,
)
from flux.content import digest_of, load_async
from flux.errors import FluxError
from flux.kvs import KVSTxn, treeobj
from flux.testing import Instance, wait_for

__all__ = ["PRIMARY", "SIZE", "Transaction", "World", "to_txn"]

SIZE = 4
PRIMARY = "primary"
_numbers = itertools.count()

Transaction = list[tuple[str, str, Any]]


class Version(NamedTuple):
    """A root that was: its blobref, and what the model held then."""

    rootref: str
    root: dict[str, Any]


class Tracked:
    """A namespace: its name in the instance, its model, its version, and all that were before."""

    def __init__(self, name: str, rootref: str, seq: int = 0) -> None:
        self.name = name
        self.model = Model()
        self.seq = seq
        self.versions = [Version(rootref, {})]

    def advance(self, rootref: str, seq: int) -> None:
        self.seq = seq
        self.versions.append(Version(rootref, copy.deepcopy(self.model.root)))


def to_txn(transaction: Transaction, real_name: Callable[[str], str]) -> KVSTxn:
    """The operations of the model as those of the KVS."""
    txn = KVSTxn()
    for op, key, value in transaction:
        if op == "unlink":
            txn.unlink(key)
        elif op == "mkdir":
            txn.mkdir(key)
        elif op == "link":
            txn.symlink(key, value[1], real_name(value[2]) if len(value) > 2 else None)
        elif op == "tree":
            txn.put_treeobj(key, to_treeobj(value))
        else:
            (txn.append if op == "append" else txn.put_raw)(key, value)
    return txn


def to_treeobj(value: Any) -> treeobj.TreeObj:
    if isinstance(value, bytes):
        return treeobj.val(value)
    return treeobj.directory({name: to_treeobj(entry) for name, entry in value.items()})


class World:
    """Namespaces "A" and "B" of a running instance.

    Args:
        running: the instance. A: the real name of the first; a new namespace when it is "".
    """

    def __init__(self, running: Instance, A: str = "") -> None:
        self.running = running
        self.handles = self._connect()
        self.spaces: dict[str, Tracked] = {}
        self.names = {"A": A or f"model-{next(_numbers)}", "B": f"model-{next(_numbers)}"}
        if A:
            self._empty(A)
        else:
            self.create("A")
        self.create("B")
        self.told: list[bytes] = []
        self.append_log(0, b"begin")
        self.watches = self._watch_log()

    def _connect(self) -> list[Any]:
        return [flux.Flux(self.running.uri_of(rank)) for rank in range(SIZE)]

    def _disconnect(self) -> None:
        for handle in self.handles:
            handle.close()

    def _empty(self, name: str) -> None:
        handle = self.handles[0]
        txn = KVSTxn()
        for key in kvs.get_dir(handle, ".", name):
            txn.unlink(key)
        answer = kvs.commit_async(handle, txn, namespace=name).get()
        self.spaces["A"] = Tracked(name, answer["rootref"], answer["rootseq"])

    def _watch_log(self) -> list[Any]:
        """A watcher of appends on each rank: it is to tell every one of them, once and in order."""
        name = self.spaces["A"].name
        handles = [self.meet(rank, "A") for rank in range(SIZE)]
        return [kvs.watch_async(handle, "log", FLUX_KVS_WATCH_APPEND, name) for handle in handles]

    # -- what both have to agree on

    def meet(self, rank: int, space: str) -> Any:
        """Wait until a rank has the version of the model, and compare its root; gives the rank's handle."""
        tracked, handle = self.spaces[space], self.handles[rank]
        assert kvs.wait_version(handle, tracked.seq, tracked.name) == tracked.seq
        root = kvs.getroot(handle, tracked.name)
        assert (root["rootseq"], root["rootref"]) == (tracked.seq, tracked.versions[-1].rootref)
        return handle

    def compare(self, rank: int, space: str) -> None:
        """Load all of a namespace by way of a rank."""
        handle = self.meet(rank, space)
        obj = kvs.lookup_async(handle, ".", FLUX_KVS_TREEOBJ, self.spaces[space].name).get()
        assert self.plain(handle, obj) == self._real(self.spaces[space].model.root)

    def plain(self, handle: Any, obj: treeobj.TreeObj) -> Any:
        return plain(obj, lambda ref: load_async(handle, digest_of(ref)).get())

    def _real(self, value: Any) -> Any:
        """A value of the model with namespaces by their real names."""
        if isinstance(value, dict):
            return {name: self._real(entry) for name, entry in value.items()}
        if isinstance(value, tuple) and len(value) > 2:
            return (*value[:2], self.names[value[2]])
        return value

    def _root_of(self, space: str) -> dict[str, Any]:
        if space not in self.spaces:
            raise Refused(errno.ENOTSUP)
        return self.spaces[space].model.root

    # -- writing

    def commit(self, rank: int, space: str, transaction: Transaction, no_merge: bool = False) -> None:
        tracked = self.spaces[space]
        txn = to_txn(transaction, self.names.__getitem__)
        request = kvs.commit_async(self.handles[rank], txn, FLUX_KVS_NO_MERGE * no_merge, tracked.name)
        try:
            tracked.model.transact(transaction)
        except Refused as refused:
            expect(refused.errno, request.get)
            return
        answer = request.get()
        assert answer["rootseq"] == tracked.seq + 1
        tracked.advance(answer["rootref"], answer["rootseq"])

    def commit_together(self, space: str, ranks: list[int], value: bytes) -> None:
        """Commits under way at the same time, each of a rank to a directory of its own."""
        tracked = self.spaces[space]
        requests = []
        for i, rank in enumerate(ranks):
            change = [("put", f"w{rank}.k{i}", value), ("append", f"w{rank}.all", value)]
            tracked.model.transact(change)
            txn = to_txn(change, self.names.__getitem__)
            requests.append(kvs.commit_async(self.handles[rank], txn, namespace=tracked.name))
        answers = {answer["rootseq"]: answer["rootref"] for answer in [request.get() for request in requests]}
        newest = max(answers)
        assert set(answers) == set(range(tracked.seq + 1, newest + 1))
        tracked.advance(answers[newest], newest)

    def append_log(self, rank: int, text: bytes) -> None:
        self.commit(rank, "A", [("append", "log", text)])
        self.told.append(text)

    def copy(self, rank: int, source: tuple[str, str], target: tuple[str, str], move: bool) -> None:
        """Copy what is under a key by reference, within or between namespaces; a move is a copy and an unlink."""
        (space, key), (other, other_key) = source, target
        handle = self.meet(rank, space)
        request = kvs.lookup_async(handle, key, FLUX_KVS_TREEOBJ, self.spaces[space].name)
        try:
            found = copy.deepcopy(self.spaces[space].model.find(key, False, self._root_of))
        except Refused as refused:
            expect(refused.errno, request.get)
            return
        txn = KVSTxn().put_treeobj(other_key, request.get())
        change: Transaction = [("put", other_key, found)]
        if move and space == other:
            txn.unlink(key)
            change.append(("unlink", key, None))
        request = kvs.commit_async(self.handles[rank], txn, namespace=self.spaces[other].name)
        try:
            self.spaces[other].model.transact(change)
        except Refused as refused:
            expect(refused.errno, request.get)
            return
        answer = request.get()
        self.spaces[other].advance(answer["rootref"], answer["rootseq"])

    # -- reading

    def look_up(self, rank: int, space: str, key: str, flags: int) -> None:
        for name in self.spaces:
            handle = self.meet(rank, name)
        request = kvs.lookup_async(handle, key, flags, self.spaces[space].name)
        self._same(handle, self.spaces[space].model, key, flags, request)

    def look_back(self, rank: int, space: str, which: int, key: str, flags: int) -> None:
        """Look a key up in a root that was; links to other namespaces lead to what these are now."""
        for name in self.spaces:
            handle = self.meet(rank, name)
        versions = self.spaces[space].versions
        version = versions[which % len(versions)]
        request = kvs.lookup_async(handle, key, flags, rootdir=treeobj.dirref(version.rootref))
        self._same(handle, Model(version.root), key, flags, request)

    def _same(self, handle: Any, model: Model, key: str, flags: int, request: Any) -> None:
        follow = not flags & (FLUX_KVS_TREEOBJ | FLUX_KVS_READLINK)
        try:
            if key == "." and flags & FLUX_KVS_READLINK:
                raise Refused(errno.EISDIR)
            wanted = interpret(model.find(key, follow, self._root_of), flags)
        except Refused as refused:
            expect(refused.errno, request.get)
            return
        assert self.plain(handle, request.get()) == self._real(wanted)

    # -- namespaces

    def create(self, space: str) -> None:
        name = self.names[space]
        kvs.namespace_create(self.handles[-1], name)
        self.spaces[space] = Tracked(name, kvs.getroot(self.handles[0], name)["rootref"])
        for handle in self.handles:
            expect(errno.EEXIST, lambda handle=handle: kvs.namespace_create(handle, name))

    def remove(self, space: str, rank: int) -> None:
        """Remove a namespace by way of a rank, and wait until all have heard of it."""
        name = self.spaces.pop(space).name
        kvs.namespace_remove(self.handles[rank], name)
        for handle in self.handles:
            wait_for(lambda handle=handle: is_gone(handle, name), what=f"{name} is gone")
            expect(errno.ENOTSUP, lambda handle=handle: kvs.commit(handle, namespace=name, txn=KVSTxn()))

    # -- what nobody may notice

    def drop(self, rank: int, service: str) -> None:
        self.handles[rank].rpc(f"{service}.dropcache").get()

    def reparent(self, rank: int, parent: int) -> None:
        """Put a broker under another parent of the chain, and wait until it is there."""
        if self._parent(rank) != parent:
            self.handles[rank].rpc("overlay.reparent", {"parent": parent}).get()
            wait_for(lambda: self._parent(rank) == parent, what=f"rank {rank} is under rank {parent}")

    def _parent(self, rank: int) -> int:
        return int(self.handles[rank].rpc("overlay.parent").get()["rank"])

    def restart(self) -> None:
        """End the instance and start it again on the same database: only the primary namespace outlasts that."""
        self._close_watches()
        self._disconnect()
        assert self.running.stop() == 0
        self.running.start()
        self.handles = self._connect()
        del self.spaces["B"]
        self.watches = self._watch_log()
        self.create("B")

    def close(self) -> None:
        """Compare everything, and leave nothing behind."""
        try:
            for rank in range(SIZE):
                for space in self.spaces:
                    self.compare(rank, space)
            self._close_watches()
            for space in [space for space in self.spaces if self.names[space] != PRIMARY]:
                self.remove(space, 0)
        finally:
            self._disconnect()

    def _close_watches(self) -> None:
        """Every append was told on every rank, once and in order; then each watch is cancelled."""
        for watch in self.watches:
            told = []
            while len(told) < len(self.told):
                told.append(watch.value())
                watch.reset()
            assert told == self.told
            watch.cancel()
            expect(errno.ENODATA, watch.get)


def interpret(value: Any, flags: int) -> Any:
    """A value as lookup flags ask for it (flux_kvs_lookup(3)). Refused: it is something else."""
    if flags & FLUX_KVS_TREEOBJ:
        return value
    if flags & FLUX_KVS_READLINK:
        if not isinstance(value, tuple):
            raise Refused(errno.EINVAL)
        return value
    if isinstance(value, Mapping) != bool(flags & FLUX_KVS_READDIR):
        raise Refused(errno.EISDIR if isinstance(value, Mapping) else errno.ENOTDIR)
    return value


def expect(errnum: int, call: Callable[[], Any]) -> None:
    try:
        result = call()
    except FluxError as exc:
        assert exc.errno == errnum, f"{errno.errorcode[exc.errno]} in place of {errno.errorcode[errnum]}: {exc}"
    else:
        raise AssertionError(f"{result} in place of {errno.errorcode[errnum]}")


def is_gone(handle: Any, name: str) -> bool:
    try:
        kvs.getroot(handle, name)
    except FluxError as exc:
        return exc.errno == errno.ENOTSUP
    return False
