"""Payloads of the kvs service and of the events it publishes."""

from __future__ import annotations

from typing import Any

import msgspec

from flux_plugins.kvs.transaction import Op

__all__ = [
    "Checkpoint",
    "CommitRequest",
    "FenceRequest",
    "FetchRequest",
    "Guest",
    "LookupRequest",
    "NamespaceCreate",
    "NamespaceName",
    "RelayRequest",
    "SetrootEvent",
    "WaitVersion",
]


class LookupRequest(msgspec.Struct):
    """kvs.lookup, kvs.lookup-plus: in a namespace, or in the snapshot rootdir (a dirref)."""

    key: str
    flags: int = 0
    namespace: str | None = None
    rootdir: dict[str, Any] | None = None
    rootseq: int = 0


class FetchRequest(msgspec.Struct):
    """kvs.fetch, private to kvs-watch: a lookup as of a root, on behalf of the client that watches.

    Attributes:
        offset: None for a lookup by flags; else the value's blobs from that number on.
        ahead: how many of these to load at once.
        userid, rolemask: of the client.
    """

    rootref: str
    key: str
    flags: int
    offset: int | None
    userid: int
    rolemask: int
    ahead: int = 1


class CommitRequest(msgspec.Struct):
    """kvs.commit."""

    ops: list[Op]
    namespace: str
    flags: int = 0


class FenceRequest(msgspec.Struct):
    """kvs.fence: one of nprocs transactions that are committed as one.

    Attributes:
        userid, rolemask: of the client, when another rank passes its request on.
    """

    name: str
    nprocs: int
    ops: list[Op]
    namespace: str
    flags: int = 0
    userid: int | None = None
    rolemask: int = 0


class RelayRequest(msgspec.Struct):
    """kvs.relaycommit: a transaction of another rank; one that comes again under the same name is committed once."""

    ops: list[Op]
    name: str
    namespace: str
    flags: int = 0


class NamespaceName(msgspec.Struct):
    """kvs.getroot, kvs.namespace-remove."""

    namespace: str


class NamespaceCreate(msgspec.Struct):
    """kvs.namespace-create; owner -1 is the caller."""

    namespace: str
    rootref: str
    owner: int
    flags: int = 0


class Guest(msgspec.Struct):
    """kvs.guest-begin, kvs.guest-end: the namespace of a job.

    Attributes:
        key: where the job's directory has it.
        ops: what to commit in it, as its first or its last.
        owner: userid of the job.
    """

    namespace: str
    key: str
    ops: list[Op]
    owner: int = -1


class WaitVersion(msgspec.Struct):
    """kvs.wait-version."""

    namespace: str
    rootseq: int


class SetrootEvent(msgspec.Struct):
    """kvs.namespace-NS-setroot, as followers read it."""

    namespace: str
    rootseq: int
    rootref: str
    owner: int


class Checkpoint(msgspec.Struct):
    """One element of content.checkpoint-get, newest first. broker, namespaces: see `successor`."""

    rootref: str
    version: int = 1
    sequence: int = 0
    timestamp: float = 0.0
    broker: str = ""
    namespaces: list[dict[str, Any]] = []
