"""Sets of core and GPU ids as bit masks: an allocation is a few operations on one integer."""

from __future__ import annotations

from functools import lru_cache

from flux.idset import IDset

__all__ = ["lowest", "mask_of", "text_of"]


@lru_cache(maxsize=4096)
def mask_of(ids: str) -> int:
    """The mask of an idset string. ValueError when it is none."""
    mask = 0
    for first, last in IDset(ids).ranges():
        mask |= ((1 << (last - first + 1)) - 1) << first
    return mask


@lru_cache(maxsize=4096)
def text_of(mask: int) -> str:
    """The idset string of a mask."""
    return str(IDset(i for i in range(mask.bit_length()) if mask >> i & 1))


def lowest(mask: int, count: int) -> int:
    """The count lowest bits of mask, which has at least as many."""
    if mask.bit_count() == count:
        return mask
    chosen = 0
    for _ in range(count):
        bit = mask & -mask
        chosen |= bit
        mask ^= bit
    return chosen
