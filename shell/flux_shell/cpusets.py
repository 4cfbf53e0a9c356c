"""Sets of CPUs or GPUs: how they are written, and how tasks share them (hwlocality_bitmap(3), taskset(1)). Pure."""

from __future__ import annotations

from collections.abc import Sequence

from flux.idset import IDset

__all__ = ["mask_of", "parse", "parse_map", "share"]

_WORD = 32  # bits of each number of an hwloc bitmap


def share(ids: Sequence[int], index: int, count: int) -> list[int]:
    """The part of ids that is for the index-th of count tasks; tasks share ids when there are fewer of them."""
    if len(ids) < count:
        return [ids[index % len(ids)]] if ids else []
    size, extra = divmod(len(ids), count)
    start = index * size + min(index, extra)
    return list(ids[start : start + size + (index < extra)])


def parse(text: str) -> list[int]:
    """The numbers of a list "0-1,4", a mask as taskset(1) writes it "0x13", or a bitmap of hwloc "0x1,0x00000013".

    Raises:
        ValueError: it is none of them, or an empty set.
    """
    try:
        ids = _bits(text) if text.startswith("0x") else list(IDset(text))
    except ValueError:
        ids = []
    if not ids:
        raise ValueError(f"cpuset {text!r} contains nothing or is invalid: 0-1,4 or 0x13 would be right")
    return ids


def mask_of(text: str) -> int:
    """The number that a bitmap of hwloc stands for, such as "0x1,0x00000013". ValueError when it is none."""
    mask = 0
    for word in text.split(","):
        mask = mask << _WORD | (int(word, 16) if word else 0)
    return mask


def _bits(text: str) -> list[int]:
    mask = mask_of(text)
    return [bit for bit in range(mask.bit_length()) if mask >> bit & 1]


def parse_map(text: str) -> list[list[int]]:
    """The sets of "SET;SET;...", one for each task in turn. ValueError when there is none, or one is invalid."""
    sets = [parse(part) for part in text.split(";") if part]
    if not sets:
        raise ValueError(f"no cpuset in the map {text!r}")
    return sets
