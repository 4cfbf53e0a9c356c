"""Blobs by content address (RFC 10, flux-content(1)): requests whose payloads are raw bytes."""

from __future__ import annotations

import errno

from flux.errors import FluxError
from flux.hashes import DIGEST_SIZES
from flux.message import NODEID_ANY, Message
from flux.rpc import RPC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.core.base import Handle

__all__ = ["BLOB_MAX", "RawRPC", "digest_of", "load_async", "ref_of", "store_async"]

BLOB_MAX = 1 << 30
"""Largest blob, in bytes."""


class RawRPC(RPC):
    """An RPC whose result is the response's payload as bytes; b"" when it has none."""

    def _convert(self, result: Message) -> bytes:
        return result.raw or b""


def digest_of(blobref: str) -> bytes:
    """Digest bytes of a blobref. FluxError EINVAL when it is none."""
    name, _, text = blobref.partition("-")
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if not digest or len(digest) != DIGEST_SIZES.get(name):
        raise FluxError(errno.EINVAL, f"{blobref!r} is no blobref, such as sha1- and 40 hex digits")
    return digest


def ref_of(digest: bytes, hash_name: str) -> str:
    """Blobref of digest bytes."""
    return f"{hash_name}-{digest.hex()}"


def load_async(handle: Handle, digest: bytes, bypass_cache: bool = False) -> RawRPC:
    """The blob with that digest, as bytes. Errors: ENOENT unknown; EPROTO not a digest of this instance's hash.

    Args:
        bypass_cache: ask the backing store on rank 0 (ENOSYS when there is none).
    """
    if bypass_cache:
        return RawRPC(handle, "content-backing.load", digest, nodeid=0)
    return RawRPC(handle, "content.load", digest)


def store_async(handle: Handle, blob: bytes, bypass_cache: bool = False, nodeid: int = NODEID_ANY) -> RawRPC:
    """Store a blob; the result is its digest. FluxError EFBIG above 1 GiB."""
    topic = "content-backing.store" if bypass_cache else "content.store"
    return RawRPC(handle, topic, blob or None, nodeid=0 if bypass_cache else nodeid)
