"""Targets as administrators name them: ranks, or hosts (flux-resource(1))."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from flux.errors import FluxError
from flux.hostlist import Hostlist
from flux.idset import IDset

__all__ = ["target_ranks"]


def target_ranks(text: str, hosts: Sequence[str]) -> IDset:
    """Ranks of an idset, or of a hostlist. FluxError EINVAL when it is neither, or names a host that is not there.

    Args:
        hosts: host name of each rank.
    """
    try:
        return IDset(text)
    except ValueError:
        pass
    try:
        names = Hostlist(text)
    except ValueError as exc:
        raise FluxError(errno.EINVAL, f"{text} is neither an idset nor a hostlist: {exc}") from None
    unknown = [name for name in names if name not in hosts]
    if unknown:
        raise FluxError(errno.EINVAL, f"host {unknown[0]} is not in the instance, which has {Hostlist(hosts)}")
    return IDset(rank for rank, name in enumerate(hosts) if name in names)
