"""Ordered lists of host names and their compact text form (RFC 29; manual page ``flux.hostlist``).

Order and duplicates are kept.  The compact form is computed when asked for: neighbours that differ in
one number only share a pair of brackets, as in ``node[0-3,7]-ib``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from errno import ENOENT

from flux.idset import IDset

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias, overload

__all__ = ["Hostlist", "HostlistIterator", "HostlistLike", "decode"]

HostlistLike: TypeAlias = "Hostlist | str | Iterable[str]"

MAX_HOSTS = 1 << 20
"""Most hosts that one string may stand for, so that ``n[0-4000000000]`` is an error and no fatal one."""

_EXPRESSION = re.compile(r"([^\[\],]*)(?:\[([^\[\]]*)\]([^\[\],]*))?(,|$)")
_NAME = re.compile(r"[!-+\--Z\\^-~]*")  # printable ASCII but blank, comma and square brackets
_ID = re.compile(r"[0-9]{1,18}")
_RANGE = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")
_NUMBERS = re.compile(r"((?<![0-9])[0-9]{1,18}(?![0-9]))")


class Hostlist:
    """An ordered list of host names.

    ``arg`` is an RFC 29 string (``"node[0-3],login1"``), a Hostlist, or an iterable of such strings.
    Raises ValueError naming the wrong expression, TypeError when ``arg`` is of another type.
    """

    __slots__ = ("_hosts",)

    def __init__(self, arg: HostlistLike = "") -> None:
        self._hosts: list[str] = _hosts_of(arg)

    # --- text -----------------------------------------------------------------------------

    def encode(self) -> str:
        """Return the RFC 29 string, brackets used wherever neighbours allow it."""
        return ",".join(group.encode() for group in _groups(self._hosts))

    def __str__(self) -> str:
        return self.encode()

    def __repr__(self) -> str:
        return f"Hostlist('{self.encode()}')"

    # --- contents -------------------------------------------------------------------------

    def count(self) -> int:
        """The number of hosts, duplicates included."""
        return len(self._hosts)

    def expand(self) -> list[str]:
        """The host names as a list of str, in order."""
        return self._hosts.copy()

    def copy(self) -> Hostlist:
        """An independent copy."""
        return Hostlist(self)

    def append(self, *args: HostlistLike) -> int:
        """Append hosts at the end; return how many."""
        hosts = [host for arg in args for host in _hosts_of(arg)]
        self._hosts += hosts
        return len(hosts)

    def delete(self, hosts: HostlistLike) -> int:
        """Remove the first occurrence of each host named; return how many were removed.

        A host that is not in the list is passed over.
        """
        unwanted: dict[str, int] = {}
        for host in _hosts_of(hosts):
            unwanted[host] = unwanted.get(host, 0) + 1
        kept = [host for host in self._hosts if not _take(unwanted, host)]
        removed = len(self._hosts) - len(kept)
        self._hosts = kept
        return removed

    def find(self, host: str) -> int:
        """Index of the first occurrence of ``host``; FileNotFoundError (ENOENT) when there is none."""
        try:
            return self._hosts.index(host)
        except ValueError:
            raise FileNotFoundError(ENOENT, f"hostlist: no host '{host}'") from None

    def index(self, hosts: HostlistLike, ignore_nomatch: bool = False) -> list[int]:
        """Indices of the first occurrence of each host named.

        FileNotFoundError (ENOENT) when one is not in the list, unless ``ignore_nomatch``.
        """
        first: dict[str, int] = {}
        for i, host in enumerate(self._hosts):
            first.setdefault(host, i)
        wanted = _hosts_of(hosts)
        missing = [host for host in wanted if host not in first]
        if missing and not ignore_nomatch:
            raise FileNotFoundError(ENOENT, f"hostlist: no host '{missing[0]}'")
        return [first[host] for host in wanted if host in first]

    def sort(self) -> None:
        """Sort in place: by name, numbers inside names by value, then by width."""
        self._hosts.sort(key=_sort_key)

    def uniq(self) -> None:
        """Sort in place and remove duplicates."""
        self._hosts = sorted(set(self._hosts), key=_sort_key)

    # --- Python protocols -----------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._hosts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._hosts)

    def __contains__(self, host: object) -> bool:
        return host in self._hosts

    def __eq__(self, other: object) -> bool:
        return self._hosts == other._hosts if isinstance(other, Hostlist) else NotImplemented

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, index: int) -> str: ...
        @overload
        def __getitem__(self, index: slice | IDset | Iterable[int]) -> Hostlist: ...

    def __getitem__(self, index: int | slice | IDset | Iterable[int]) -> str | Hostlist:
        """The host at ``index`` (negative counts from the end), or a Hostlist of those at several indices."""
        if isinstance(index, int):
            return self._at(index)
        if isinstance(index, slice):
            return _of(self._hosts[index])
        if isinstance(index, str) or not isinstance(index, Iterable):
            raise TypeError(f"hostlist: an index is an int, a slice or an idset, not {index!r}")
        return _of([self._at(i) for i in index])

    def _at(self, index: int) -> str:
        try:
            return self._hosts[index]
        except IndexError:
            raise IndexError(f"hostlist: index {index} is out of range, {len(self)} hosts") from None

    def __getstate__(self) -> list[str]:
        return self._hosts

    def __setstate__(self, state: list[str]) -> None:
        self._hosts = state


class HostlistIterator:
    """Iterate over the hosts of a Hostlist, in order."""

    def __init__(self, hostlist: Hostlist) -> None:
        self._hosts = iter(hostlist)

    def __iter__(self) -> HostlistIterator:
        return self

    def __next__(self) -> str:
        return next(self._hosts)


def decode(arg: HostlistLike) -> Hostlist:
    """Decode an RFC 29 string, or an iterable of them; ValueError names the expression that is wrong."""
    return Hostlist(arg)


# --- decode -----------------------------------------------------------------------------------


def _of(hosts: list[str]) -> Hostlist:
    result = Hostlist()
    result._hosts = hosts
    return result


def _hosts_of(arg: Any) -> list[str]:
    if isinstance(arg, Hostlist):
        return arg._hosts.copy()
    if isinstance(arg, str):
        return _parse(arg)
    if not isinstance(arg, Iterable):
        raise TypeError(f"hostlist: expected a string or an iterable of strings, got {type(arg).__name__}")
    hosts: list[str] = []
    for item in arg:
        if not isinstance(item, str):
            raise TypeError(f"hostlist: a host is a string, got {type(item).__name__} {item!r}")
        hosts += _parse(item)
    return hosts


def _parse(text: str) -> list[str]:
    hosts: list[str] = []
    pos, more = 0, bool(text)
    while more:
        match = _EXPRESSION.match(text, pos)
        if match is None:
            raise ValueError(f"hostlist '{text}': brackets do not match at '{text[pos : pos + 40]}'")
        prefix, idlist, suffix = match[1].lstrip(), match[2], (match[3] or "").rstrip()
        hosts += _expand(prefix.rstrip() if idlist is None else prefix, idlist, suffix, MAX_HOSTS - len(hosts))
        pos, more = match.end(), match[4] == ","
    return hosts


def _expand(prefix: str, idlist: str | None, suffix: str, room: int) -> Iterable[str]:
    for part in (prefix, suffix):
        if not _NAME.fullmatch(part):
            raise ValueError(f"hostlist: '{part}' is no part of a host name (blank or not printable ASCII)")
    if idlist is None:
        return [prefix] if prefix else []
    spans = [_span(item, idlist) for item in idlist.split(",")]
    if sum(len(span) for span, _ in spans) > room:
        raise ValueError(f"hostlist: '{prefix}[{idlist}]{suffix}' makes more than {MAX_HOSTS} hosts")
    return [f"{prefix}{i:0{width}}{suffix}" for span, width in spans for i in span]


def _span(item: str, idlist: str) -> tuple[range, int]:
    """The ids of one item and the width they are padded to."""
    match = _RANGE.fullmatch(item)
    if match is None:
        raise ValueError(f"hostlist: '{item}' in '[{idlist}]' is neither a number nor a range such as 0-3")
    lo = int(match[1])
    hi = lo if match[2] is None else int(match[2])
    if hi < lo:
        raise ValueError(f"hostlist: range {item} in '[{idlist}]' runs backwards")
    return range(lo, hi + 1), _width(match[1])


def _width(digits: str) -> int:
    """Leading zeros in the first id of a range are kept across the range.

    RFC 29 says across the whole list, but flux-core writes n10,n01 as ``n[10,01]`` and reads each item for
    itself.  What encode() writes reads the same either way.
    """
    return len(digits) if digits.startswith("0") else 1


# --- encode -----------------------------------------------------------------------------------


class _Group:
    """Hosts in a row that one expression ``prefix[ids]suffix`` stands for."""

    __slots__ = ("_first", "_ids", "_prefix", "_suffix", "_width")

    def __init__(self, host: str) -> None:
        self._first = host
        self._prefix = self._suffix = ""
        self._width = 0
        self._ids: list[int] = []

    def join(self, host: str) -> bool:
        """Take the host in when the same expression can stand for it too."""
        if not self._ids and not self._split(host):
            return False
        digits = host[len(self._prefix) : len(host) - len(self._suffix)]
        if f"{self._prefix}{digits}{self._suffix}" != host or not self._fits(digits):
            return False
        self._ids.append(int(digits))
        return True

    def _fits(self, digits: str) -> bool:
        return bool(_RANGE.fullmatch(digits)) and "-" not in digits and f"{int(digits):0{self._width}}" == digits

    def _split(self, host: str) -> bool:
        """Find the one number in which the first two hosts differ (when equal: the last one)."""
        a, b = _NUMBERS.split(self._first), _NUMBERS.split(host)
        if len(a) == 1 or len(a) != len(b):
            return False
        differ = [i for i, part in enumerate(a) if part != b[i]] or [len(a) - 2]
        at = differ[0]
        width = _width(a[at])
        if len(differ) > 1 or not at & 1 or f"{int(b[at]):0{width}}" != b[at]:
            return False
        self._prefix, self._suffix = "".join(a[:at]), "".join(a[at + 1 :])
        self._width, self._ids = width, [int(a[at])]
        return True

    def encode(self) -> str:
        if not self._ids:
            return self._first
        return f"{self._prefix}[{','.join(self._ranges())}]{self._suffix}"

    def _ranges(self) -> Iterator[str]:
        lo = hi = self._ids[0]
        for i in self._ids[1:]:
            if i != hi + 1:
                yield self._range(lo, hi)
                lo = i
            hi = i
        yield self._range(lo, hi)

    def _range(self, lo: int, hi: int) -> str:
        low = f"{lo:0{self._width}}"
        return low if lo == hi else f"{low}-{hi:0{self._width}}"


def _groups(hosts: Iterable[str]) -> Iterator[_Group]:
    group: _Group | None = None
    for host in hosts:
        if group is not None and group.join(host):
            continue
        if group is not None:
            yield group
        group = _Group(host)
    if group is not None:
        yield group


def _take(counts: dict[str, int], host: str) -> bool:
    left = counts.get(host, 0)
    if left:
        counts[host] = left - 1
    return left > 0


def _sort_key(host: str) -> tuple[tuple[str, int, str, int], ...]:
    parts = re.split(r"([0-9]+)", host)
    parts.append("")
    return tuple(
        (parts[i], len(parts[i + 1].lstrip("0")), parts[i + 1].lstrip("0"), len(parts[i + 1]))
        for i in range(0, len(parts), 2)
    )
