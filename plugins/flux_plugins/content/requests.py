"""Payloads of the content service that are not raw bytes."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from flux.content import BLOB_MAX

__all__ = ["CheckpointPut", "MmapAdd", "MmapRemove", "Options", "RegisterBacking", "StoreBatch"]


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of the content module. All but flush_delay are overridden by the attributes content.NAME.

    Attributes:
        blob_size_limit: bytes of the largest blob that can be stored.
        purge_target_size: bytes the cache is purged down to.
        purge_old_entry: seconds a blob must not have been used to be purged.
        flush_delay: seconds that new blobs are gathered before they go to the backing store.
        flush_batch_limit: most blobs in one request to the backing store.
    """

    blob_size_limit: int = BLOB_MAX
    purge_target_size: int = 16 << 20
    purge_old_entry: float = 10.0
    flush_delay: float = 0.05
    flush_batch_limit: int = 1024


class StoreBatch(msgspec.Struct):
    """content.store-batch: blobs with their digests, from a module that has hashed them already."""

    blobs: list[tuple[bytes, bytes]]


class RegisterBacking(msgspec.Struct):
    """content.register-backing. batch: it takes content-backing.store-batch."""

    name: str
    batch: bool = False


class CheckpointPut(msgspec.Struct):
    """content.checkpoint-put: {version, rootref, sequence, timestamp}."""

    value: dict[str, Any]


class MmapAdd(msgspec.Struct):
    """content.mmap-add: serve a file's chunks as blobs. path: absolute; chunksize: bytes, 0 for one blob."""

    path: str
    chunksize: Annotated[int, msgspec.Meta(ge=0)]
    tag: str


class MmapRemove(msgspec.Struct):
    """content.mmap-remove."""

    tag: str
