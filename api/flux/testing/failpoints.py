"""Faults at named places of the store, as FLUX_FAILPOINT asks for them.

    FLUX_FAILPOINT=NAME:ACTION[@WHEN][,NAME:ACTION[@WHEN]...]

ACTION is `crash` (the process kills itself with SIGKILL), `error` or `error=ERRNO` (the place raises a FluxError, EIO
by default) or `delay=FSD` (the thread that gets there stands still). WHEN is `N` (the Nth time that the process gets
there), `N+` (that time and each one after it) or `P%` (at random, so often); by default each time.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import time
from collections.abc import Callable
from typing import NamedTuple

from flux.errors import FluxError
from flux.util import parse_fsd

__all__ = ["POINTS", "Failpoints", "Point", "failpoint"]


class Point(NamedTuple):
    """A place where a fault may be put in.

    Attributes:
        text: what the process is about to do, or has just done.
        may_fail: what is done there can fail, so that `error` is an action for it.
    """

    text: str
    may_fail: bool


POINTS = {
    "kvs.commit": Point("rank 0 is about to merge the commits that have come", False),
    "kvs.store": Point("a new root is made, its blobs are about to go to the content service", False),
    "kvs.setroot": Point("the blobs are on their way, the new root is about to be told", False),
    "kvs.answer": Point("the new root is told, who committed is about to be answered", False),
    "kvs.stored": Point("the content service has answered for the blobs of a commit", True),
    "kvs.checkpoint": Point("a root is about to be put on record", True),
    "kvs.relay": Point("a commit is about to go from another rank to rank 0", False),
    "content.keep": Point("rank 0 is about to take blobs into its cache", False),
    "content.write": Point("blobs are about to go to the backing store", False),
    "content.written": Point("the backing store has answered for blobs", True),
    "content.flushed": Point("every blob is in the backing store, a checkpoint is about to go there", True),
    "sqlite.store": Point("blobs are in a transaction of SQLite that is about to be committed", True),
    "sqlite.stored": Point("a transaction with blobs is committed, and nobody knows it yet", True),
    "sqlite.checkpoint": Point("a checkpoint is in a transaction that is about to be committed", True),
    "sqlite.recorded": Point("a transaction with a checkpoint is committed, and nobody knows it yet", True),
    "files.write": Point("a file of content-files is written under a name of its own, about to be renamed", True),
    "job-ingest.commit": Point("new jobs are about to be committed", False),
    "job-ingest.committed": Point("new jobs are in the KVS, the job manager is about to be told", True),
    "job-manager.commit": Point("events of jobs are about to be committed", False),
    "job-manager.committed": Point("events of jobs are in the KVS, and nobody knows it yet", True),
}
"""Every place, by name. docs/guides/failpoints.md shows them."""


class _Fault(NamedTuple):
    """What happens at a place, and when: `due(n)` for the nth time."""

    act: Callable[[], None]
    due: Callable[[int], bool]


class Failpoints:
    """The faults that a text such as "sqlite.store:crash@2" asks for.

    Raises:
        FluxError: EINVAL, saying which word of the text is wrong and what would be right.
    """

    def __init__(self, text: str) -> None:
        self._faults: dict[str, list[_Fault]] = {}
        self._counts = dict.fromkeys(POINTS, 0)
        for item in filter(None, text.split(",")):
            name, colon, rest = item.strip().partition(":")
            if not colon:
                raise FluxError(errno.EINVAL, f"FLUX_FAILPOINT: {item!r} is not NAME:ACTION[@WHEN]")
            if name not in POINTS:
                raise FluxError(errno.EINVAL, f"FLUX_FAILPOINT: no failpoint {name!r}: there are {', '.join(POINTS)}")
            action, _, when = rest.partition("@")
            self._faults.setdefault(name, []).append(_Fault(_action(name, action), _selector(when)))

    def hit(self, name: str) -> None:
        """The process has got to a place. FluxError when its fault is an error and is due."""
        self._counts[name] += 1
        for fault in self._faults.get(name, ()):
            if fault.due(self._counts[name]):
                fault.act()


def _action(name: str, action: str) -> Callable[[], None]:
    kind, _, value = action.partition("=")
    if action == "crash":
        return lambda: os.kill(os.getpid(), signal.SIGKILL)
    if kind == "error":
        return _error(name, value or "EIO")
    if kind == "delay":
        try:
            seconds = parse_fsd(value)
        except ValueError:
            raise FluxError(errno.EINVAL, f"FLUX_FAILPOINT: {value!r} is no duration such as '10ms'") from None
        return lambda: time.sleep(seconds)
    raise FluxError(errno.EINVAL, f"FLUX_FAILPOINT: {action!r} is none of crash, error[=ERRNO], delay=FSD")


def _error(name: str, symbol: str) -> Callable[[], None]:
    if not POINTS[name].may_fail:
        raise FluxError(errno.EINVAL, f"FLUX_FAILPOINT: nothing can fail at {name}: its action is crash or delay")
    number = getattr(errno, symbol, None)
    if not isinstance(number, int):
        raise FluxError(errno.EINVAL, f"FLUX_FAILPOINT: {symbol!r} is no errno such as ENOSPC")

    def fail() -> None:
        raise FluxError(number, f"failpoint {name}")

    return fail


def _selector(when: str) -> Callable[[int], bool]:
    number = when.rstrip("%+")
    if not when:
        return lambda _count: True
    if number.isdecimal():
        wanted = int(number)
        if when == number and wanted:
            return lambda count: count == wanted
        if when == f"{number}+" and wanted:
            return lambda count: count >= wanted
        if when == f"{number}%" and wanted <= 100:
            return lambda _count: random.randrange(100) < wanted
    raise FluxError(errno.EINVAL, f"FLUX_FAILPOINT: {when!r} is none of N, N+ (N from 1), P% (P up to 100)")


_of_environment = Failpoints(os.environ.get("FLUX_FAILPOINT", ""))


def failpoint(name: str) -> None:
    """The process has got to a place: see `Failpoints.hit`."""
    _of_environment.hit(name)
