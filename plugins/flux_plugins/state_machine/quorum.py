"""Who has to be there before the initial program starts, and how long a life-cycle state waits. Pure.

The attributes are those of flux-broker-attributes(7).
"""

from __future__ import annotations

import errno
import math
from dataclasses import dataclass

from flux.errors import FluxError
from flux.hooks.kernel import AttributeTable
from flux.hostlist import Hostlist
from flux.idset import IDset
from flux.util import parse_fsd

__all__ = ["Quorum", "exit_code", "limit", "name_hosts"]


@dataclass(frozen=True)
class Quorum:
    """A number of brokers, or certain ranks.

    Attributes:
        count: how many have to be online. ranks: which ones have to be; empty when any will do.
        size: of the instance.
    """

    count: int
    ranks: IDset
    size: int

    @classmethod
    def parse(cls, text: str | None, size: int) -> Quorum:
        """`broker.quorum`: a number, or an idset with brackets, a comma or a dash. None: all. FluxError EINVAL."""
        if text is None:
            return cls(size, IDset(), size)
        if text.isdecimal() and int(text) <= size:
            return cls(int(text), IDset(), size)
        try:
            ranks = IDset(text)
        except ValueError:
            ranks = IDset()
        if text.isdecimal() or not ranks.count() or ranks.last() >= size:
            wanted = f"a number from 0 to {size}, or an idset of ranks below {size}"
            raise FluxError(errno.EINVAL, f"broker.quorum={text}: it takes {wanted}")
        return cls(ranks.count(), ranks, size)

    def is_met(self, online: IDset) -> bool:
        """True when enough of the ranks given are those that were asked for."""
        return online.intersect(self.ranks or online).count() >= self.count

    def missing(self, online: IDset) -> IDset:
        """The ranks that are waited for."""
        return (self.ranks or IDset(range(self.size))).difference(online)


def limit(attrs: AttributeTable, name: str, default: str) -> float | None:
    """A duration attribute in seconds; None when there is no limit. FluxError EINVAL names the attribute."""
    text = attrs.get(name) or default
    if text == "none":
        return None
    try:
        seconds = parse_fsd(text)
    except ValueError as exc:
        raise FluxError(errno.EINVAL, f"{name}={text}: {exc}, or none") from None
    return None if math.isinf(seconds) else seconds


def exit_code(attrs: AttributeTable, name: str) -> int:
    """An exit code attribute; 0 when it is not set. FluxError EINVAL names the attribute."""
    text = attrs.get(name)
    if text is None:
        return 0
    if not text.isdecimal() or not 1 <= int(text) <= 255:
        raise FluxError(errno.EINVAL, f"{name}={text}: an exit code from 1 to 255 is wanted")
    return int(text)


def name_hosts(ranks: IDset, hostlist: str | None) -> str:
    """Ranks for people: "fluke[3,5] (rank 3,5)"."""
    hosts = Hostlist(hostlist or "").expand()
    names = Hostlist([hosts[rank] for rank in ranks if rank < len(hosts)]).encode()
    return f"{names} (rank {ranks})" if names else f"rank {ranks}"
