"""The hashes that blobs may be addressed by: the values of the attribute `content.hash` (RFC 10).

blake3 is there where its library is installed (the extra `blake3` of this distribution).
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from flux.errors import FluxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["DIGEST_SIZES", "hasher"]

DIGEST_SIZES = {"sha1": 20, "sha256": 32, "blake3": 32}
"""Bytes of a digest by the name of its hash."""


def hasher(name: str) -> Callable[[bytes], Any]:
    """The constructor for a `content.hash` name, called as those of hashlib.

    FluxError EINVAL for any other name, ENOSYS when the library of the hash is not installed.
    """
    if name not in DIGEST_SIZES:
        raise FluxError(errno.EINVAL, f"unknown content hash {name!r}: it may be {' or '.join(DIGEST_SIZES)}")
    function: Callable[[bytes], Any]
    if name != "blake3":
        import hashlib  # with a library of some size, which most who know of hashes do not use

        function = getattr(hashlib, name)
        return function
    try:
        from blake3 import blake3
    except ImportError:
        raise FluxError(errno.ENOSYS, "content hash blake3 needs the Python package blake3") from None
    function = blake3
    return function
