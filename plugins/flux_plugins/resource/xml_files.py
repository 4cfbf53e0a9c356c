"""An inventory from hwloc XML files, one for each rank (flux-resource(1), reload --xml)."""

from __future__ import annotations

import errno
import os
import re

from flux.errors import FluxError
from flux.idset import IDset
from flux.resource import ResourceSet, sources
from flux.resource.Rlist import Rlist

__all__ = ["read_xml"]


def read_xml(directory: str) -> ResourceSet:
    """What the files RANK.xml of a directory describe: cores by their logical numbers, and coprocessors as GPUs.

    Raises:
        FluxError: ENOENT and its like for the directory or a file, EINVAL when there is none, or naming the one that
            is no hwloc XML.
    """
    rlist = Rlist()
    for rank in _ranks(directory):
        _add(rlist, rank, os.path.join(directory, f"{rank}.xml"))
    return ResourceSet(rlist)


def _ranks(directory: str) -> list[int]:
    try:
        names = os.listdir(directory)
    except OSError as exc:
        raise FluxError(exc.errno or errno.EIO, f"{directory}: {exc.strerror}") from None
    ranks = sorted(int(found[1]) for name in names if (found := re.fullmatch(r"(\d+)\.xml", name)))
    if not ranks:
        raise FluxError(errno.EINVAL, f"{directory} has no file RANK.xml, such as 0.xml")
    return ranks


def _add(rlist: Rlist, rank: int, path: str) -> None:
    try:
        host = sources.read_xml(path)
    except OSError as exc:
        raise FluxError(exc.errno or errno.EIO, f"{path}: {exc.strerror}") from None
    except ValueError as exc:
        raise FluxError(errno.EINVAL, str(exc)) from None
    rlist.add_rank(rank, host.hostname, IDset(range(host.cores)))
    if host.gpus:
        rlist.add_child(rank, "gpu", IDset(range(host.gpus)))
