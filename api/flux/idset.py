"""Sets of non-negative integer ids and their compact text form (RFC 22; manual page ``flux.idset``).

A set is held as one sorted list of boundaries ``[lo, end, lo, end, ...]`` (``end`` exclusive).  So
``0-4294967293`` costs two integers, membership is one bisection (an odd position is inside a range), and
every set operation is one sweep over the boundaries, whatever the number of ids.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from flux.constants import IDSET_FLAG_BRACKETS, IDSET_FLAG_RANGE, IDSET_INVALID_ID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias, overload

__all__ = ["IDset", "IDsetIterator", "IDsetLike", "decode"]

IDsetLike: TypeAlias = "IDset | str | int | Iterable[int]"

_ITEM = re.compile(r"(0|[1-9][0-9]*)(?:-(0|[1-9][0-9]*))?", re.ASCII)
# RFC 22 has no limit, but two ids are reserved on the wire (IDSET_INVALID_ID and the one above it).
_MAX_ID = IDSET_INVALID_ID - 1


class IDset:
    """A set of unique, non-negative integer ids.

    ``arg`` is an RFC 22 string (``"0-3,7"``, ``"[0-3]"``, ``""``), an IDset, one id, or an iterable of ids.
    Ids may be listed in any order (idset_encode(3)); they are encoded in ascending order.

    Raises ValueError when the text or an id is wrong, TypeError when it is of another type.
    """

    __slots__ = ("_b", "_flags")

    def __init__(self, arg: IDsetLike = "", flags: int = IDSET_FLAG_RANGE) -> None:
        self._flags = flags
        self._b: list[int] = _boundaries(arg)

    # --- text -----------------------------------------------------------------------------

    def encode(self, flags: int | None = None) -> str:
        """Return the RFC 22 string.

        ``flags``: IDSET_FLAG_RANGE compresses consecutive ids, IDSET_FLAG_BRACKETS puts brackets around
        a set of more than one id.  The default is what set_flags() set (IDSET_FLAG_RANGE at first).
        """
        flags = self._flags if flags is None else flags
        text = ",".join(_ranges_text(self) if flags & IDSET_FLAG_RANGE else map(str, self))
        return f"[{text}]" if flags & IDSET_FLAG_BRACKETS and self.count() > 1 else text

    def set_flags(self, flags: int) -> None:
        """Set the default flags of encode() and str()."""
        self._flags = flags

    def __str__(self) -> str:
        return self.encode()

    def __repr__(self) -> str:
        return f"IDset('{self.encode(IDSET_FLAG_RANGE)}')"

    # --- single ids and ranges ------------------------------------------------------------

    def set(self, start: int, end: int | None = None) -> IDset:
        """Add id ``start``, or the ids ``start`` to ``end`` inclusive; return self."""
        self._splice(start, end, edge=0)
        return self

    def clear(self, start: int, end: int | None = None) -> IDset:
        """Remove id ``start``, or the ids ``start`` to ``end`` inclusive; return self."""
        self._splice(start, end, edge=1)
        return self

    def test(self, i: int) -> bool:
        """True when id ``i`` is in the set."""
        return bool(bisect_right(self._b, _checked_id(i)) & 1)

    def first(self) -> int:
        """The smallest id, or IDSET_INVALID_ID (4294967294) when the set is empty."""
        return self._b[0] if self._b else IDSET_INVALID_ID

    def last(self) -> int:
        """The greatest id, or IDSET_INVALID_ID when the set is empty."""
        return self._b[-1] - 1 if self._b else IDSET_INVALID_ID

    def next(self, i: int) -> int:
        """The smallest id greater than ``i``, or IDSET_INVALID_ID when there is none."""
        pos = bisect_right(self._b, i + 1)
        if pos & 1:
            return i + 1
        return self._b[pos] if pos < len(self._b) else IDSET_INVALID_ID

    def _splice(self, start: int, end: int | None, edge: int) -> None:
        lo, hi = _checked_range(start, start if end is None else end)
        left, right = bisect_left(self._b, lo), bisect_right(self._b, hi)
        keep = [lo] if left & 1 == edge else []
        if right & 1 == edge:
            keep.append(hi)
        self._b[left:right] = keep

    # --- whole sets -----------------------------------------------------------------------

    def count(self) -> int:
        """The number of ids in the set."""
        return sum(self._b[1::2]) - sum(self._b[::2])

    def copy(self) -> IDset:
        """An independent copy."""
        return self._new(self._b.copy())

    def equal(self, idset: IDsetLike) -> bool:
        """True when both hold the same ids."""
        return self._b == _boundaries(idset)

    def expand(self) -> list[int]:
        """The ids as a list of int, ascending."""
        return list(self)

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Yield (first, last) of each run of consecutive ids, both inclusive, ascending."""
        return ((lo, end - 1) for lo, end in zip(self._b[::2], self._b[1::2], strict=True))

    def add(self, arg: IDsetLike) -> None:
        """Add every id of ``arg``."""
        self._b = _sweep(self._b, _boundaries(arg), _or)

    def subtract(self, arg: IDsetLike) -> None:
        """Remove every id of ``arg``."""
        self._b = _sweep(self._b, _boundaries(arg), _minus)

    def union(self, *args: IDsetLike) -> IDset:
        """A new set of the ids in this set or in any of ``args``."""
        return self._reduce(args, _or)

    def intersect(self, *args: IDsetLike) -> IDset:
        """A new set of the ids in this set and in all ``args``."""
        return self._reduce(args, _and)

    def difference(self, *args: IDsetLike) -> IDset:
        """A new set of the ids in this set and in none of ``args``."""
        return self._reduce(args, _minus)

    def isdisjoint(self, arg: IDsetLike) -> bool:
        """True when no id is in both sets."""
        return not _sweep(self._b, _boundaries(arg), _and)

    def issubset(self, arg: IDsetLike) -> bool:
        """True when every id of this set is in ``arg``."""
        return not _sweep(self._b, _boundaries(arg), _minus)

    def _new(self, boundaries: list[int]) -> IDset:
        result = IDset(flags=self._flags)
        result._b = boundaries
        return result

    def _reduce(self, args: Iterable[IDsetLike], keep: _Keep) -> IDset:
        boundaries = self._b.copy()
        for arg in args:
            boundaries = _sweep(boundaries, _boundaries(arg), keep)
        return self._new(boundaries)

    # --- Python protocols -----------------------------------------------------------------

    def __len__(self) -> int:
        return self.count()

    def __bool__(self) -> bool:
        return bool(self._b)

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(map(range, self._b[::2], self._b[1::2]))

    def __reversed__(self) -> Iterator[int]:
        spans = zip(reversed(self._b[::2]), reversed(self._b[1::2]), strict=True)
        return chain.from_iterable(range(end - 1, lo - 1, -1) for lo, end in spans)

    def __contains__(self, i: object) -> bool:
        return isinstance(i, int) and i >= 0 and bool(bisect_right(self._b, i) & 1)

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, i: int) -> bool: ...
        @overload
        def __getitem__(self, i: slice) -> list[bool]: ...

    def __getitem__(self, i: int | slice) -> bool | list[bool]:
        """Membership by subscript, as of a bitmap: ``ids[3]`` is True when 3 is in the set."""
        if isinstance(i, slice):
            return [self.test(n) for n in _slice_ids(i)]
        return self.test(i)

    def __setitem__(self, i: int | slice, value: object) -> None:
        """Add (true value) or remove ids by subscript: ``ids[0:4] = True`` adds 0 to 3."""
        for n in [i] if isinstance(i, int) else _slice_ids(i):
            self._splice(n, None, edge=0 if value else 1)

    def __eq__(self, other: object) -> bool:
        return self._b == other._b if isinstance(other, IDset) else NotImplemented

    def __or__(self, other: IDsetLike) -> IDset:
        return self.union(other)

    def __and__(self, other: IDsetLike) -> IDset:
        return self.intersect(other)

    def __sub__(self, other: IDsetLike) -> IDset:
        return self.difference(other)

    def __xor__(self, other: IDsetLike) -> IDset:
        return self._reduce([other], _xor)

    __add__ = __or__

    def __ior__(self, other: IDsetLike) -> IDset:
        self.add(other)
        return self

    __iadd__ = __ior__

    def __isub__(self, other: IDsetLike) -> IDset:
        self.subtract(other)
        return self

    def __iand__(self, other: IDsetLike) -> IDset:
        self._b = _sweep(self._b, _boundaries(other), _and)
        return self

    def __getstate__(self) -> tuple[list[int], int]:
        return self._b, self._flags

    def __setstate__(self, state: tuple[list[int], int]) -> None:
        self._b, self._flags = state


class IDsetIterator:
    """Iterate over the ids of an IDset, ascending."""

    def __init__(self, idset: IDset) -> None:
        self._ids = iter(idset)

    def __iter__(self) -> IDsetIterator:
        return self

    def __next__(self) -> int:
        return next(self._ids)


def decode(string: str) -> IDset:
    """Decode an RFC 22 string; ValueError names the part that is wrong."""
    if not isinstance(string, str):
        raise TypeError(f"idset: expected a string, got {type(string).__name__}")
    return IDset(string)


# --- boundaries -------------------------------------------------------------------------------

_Keep: TypeAlias = Callable[[int, int], int]


def _or(a: int, b: int) -> int:
    return a | b


def _and(a: int, b: int) -> int:
    return a & b


def _xor(a: int, b: int) -> int:
    return a ^ b


def _minus(a: int, b: int) -> int:
    return a & ~b


def _sweep(a: list[int], b: list[int], keep: _Keep) -> list[int]:
    """Combine two boundary lists: an id stays when keep(in a, in b) is 1."""
    out: list[int] = []
    i = j = 0
    len_a, len_b = len(a), len(b)
    while i < len_a or j < len_b:
        at = a[i] if j == len_b or (i < len_a and a[i] <= b[j]) else b[j]
        if i < len_a and a[i] == at:
            i += 1
        if j < len_b and b[j] == at:
            j += 1
        if keep(i & 1, j & 1) != len(out) & 1:
            out.append(at)
    return out


def _boundaries(arg: Any) -> list[int]:
    """The boundary list of anything that names a set of ids; never a reference into another set."""
    if isinstance(arg, IDset):
        return arg._b.copy()
    if isinstance(arg, str):
        return _merge(_parse(arg))
    if isinstance(arg, int):
        return list(_checked_range(arg, arg))
    if isinstance(arg, Iterable):
        return _merge(_checked_range(i, i) for i in arg)
    raise TypeError(f"idset: expected an idset string, an id or an iterable of ids, got {type(arg).__name__}")


def _merge(spans: Iterable[tuple[int, int]]) -> list[int]:
    """Boundary list of (lo, end) spans in any order."""
    out: list[int] = []
    for lo, end in sorted(spans):
        if not out or lo > out[-1]:
            out += (lo, end)
        elif end > out[-1]:
            out[-1] = end
    return out


def _parse(text: str) -> Iterator[tuple[int, int]]:
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    for item in inner.split(",") if inner else ():
        match = _ITEM.fullmatch(item)
        if match is None:
            raise ValueError(f"idset '{text}': '{item}' is neither an id nor a range such as 0-3")
        lo = int(match[1])
        hi = lo if match[2] is None else int(match[2])
        if hi < lo:
            raise ValueError(f"idset '{text}': range {item} runs backwards, expected {hi}-{lo}")
        yield _checked_range(lo, hi)


def _checked_range(lo: int, hi: int) -> tuple[int, int]:
    lo, hi = _checked_id(lo), _checked_id(hi)
    if hi < lo:
        raise ValueError(f"idset: range {lo}-{hi} runs backwards, expected {hi}-{lo}")
    return lo, hi + 1


def _checked_id(i: Any) -> int:
    if not isinstance(i, int):
        raise TypeError(f"idset: an id is an integer, got {type(i).__name__} {i!r}")
    if not 0 <= i <= _MAX_ID:
        raise ValueError(f"idset: id {i} is out of range 0-{_MAX_ID}")
    return int(i)


def _slice_ids(s: slice) -> range:
    if s.stop is None:
        raise ValueError("idset: a slice needs an end, e.g. ids[0:4]")
    return range(s.start or 0, s.stop, s.step or 1)


def _ranges_text(idset: IDset) -> Iterator[str]:
    return (str(lo) if lo == hi else f"{lo}-{hi}" for lo, hi in idset.ranges())
