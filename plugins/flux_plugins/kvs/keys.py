"""KVS keys: paths with "." between their parts; repeated, leading and trailing dots count as one or none."""

from __future__ import annotations

import errno

from flux.errors import FluxError

__all__ = ["MAX_DEPTH", "MAX_LINKS", "normalise", "split_key"]

MAX_DEPTH = 256
"""Most parts a key, and most levels a directory given whole, may have."""

MAX_LINKS = 10
"""Most symlinks followed in one lookup; more is ELOOP."""


def split_key(key: str) -> list[str]:
    """Parts of a key; none for the root. FluxError EINVAL when it is empty or too deep."""
    if not key:
        raise FluxError(errno.EINVAL, "a key cannot be empty")
    parts = key.split(".")
    if "" in parts:
        parts = [part for part in parts if part]
    if len(parts) > MAX_DEPTH:
        raise FluxError(errno.EINVAL, f"a key has at most {MAX_DEPTH} parts, not {len(parts)}")
    return parts


def normalise(key: str) -> str:
    """The one spelling of a key; "." for the root."""
    return ".".join(split_key(key)) or "."
