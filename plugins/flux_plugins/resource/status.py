"""Which ranks are online, drained or excluded, and what that makes of them: up or down. No I/O, no clock."""

from __future__ import annotations

import errno
from typing import Any, NamedTuple

from flux.errors import FluxError
from flux.idset import IDset

__all__ = ["DrainInfo", "Status"]

UPDATE, OVERWRITE, FORCE_OVERWRITE = "update", "overwrite", "force-overwrite"
_MODES = {UPDATE: 0, OVERWRITE: 1, FORCE_OVERWRITE: 2}


class DrainInfo(NamedTuple):
    """timestamp: seconds since the epoch. reason: "" when none was given."""

    timestamp: float
    reason: str


class Status:
    """The state of every rank of an inventory.

    Attributes:
        ranks: all of them. online: as the group broker.online says. forced_down: taken to be offline, for tests.
        excluded: not for scheduling, by configuration. drained: rank to when and why. torpid: online, but silent.
    """

    def __init__(self, ranks: IDset) -> None:
        self.ranks = ranks
        self.online = IDset()
        self.torpid = IDset()
        self.forced_down = IDset()
        self.excluded = IDset()
        self.drained: dict[int, DrainInfo] = {}

    def moved_to(self, ranks: IDset) -> Status:
        """The same for another inventory; what is excluded is no longer drained."""
        status = Status(ranks)
        status.online, status.torpid = self.online & ranks, self.torpid & ranks
        status.forced_down, status.excluded = self.forced_down, self.excluded
        status.drained = {rank: info for rank, info in self.drained.items() if rank not in self.excluded}
        return status

    # -- questions

    @property
    def offline(self) -> IDset:
        return self.ranks - self.online

    @property
    def up(self) -> IDset:
        """Ranks that jobs may be placed on."""
        return (self.online & self.ranks) - self.torpid - self.excluded - IDset(self.drained)

    @property
    def down(self) -> IDset:
        return self.ranks - self.excluded - self.up

    def drained_by_reason(self) -> dict[str, dict[str, Any]]:
        """idset -> {timestamp, reason}, ranks drained for the same reason at the same time together."""
        groups: dict[DrainInfo, IDset] = {}
        for rank, info in sorted(self.drained.items()):
            groups.setdefault(info, IDset()).set(rank)
        return {str(ranks): {"timestamp": info.timestamp, "reason": info.reason} for info, ranks in groups.items()}

    # -- events; each gives the (name, idset) of what it changed

    def on_online(self, members: IDset) -> list[tuple[str, IDset]]:
        """The group of online brokers has these members now."""
        now = (members & self.ranks) - self.forced_down
        changes = [("online", now - self.online), ("offline", self.online - now)]
        self.online = now
        return [(name, ranks) for name, ranks in changes if ranks]

    def on_torpid(self, members: IDset) -> list[tuple[str, IDset]]:
        """The group of torpid brokers has these members now."""
        now = members & self.ranks
        changes = [("torpid", now - self.torpid), ("lively", self.torpid - now)]
        self.torpid = now
        return [(name, ranks) for name, ranks in changes if ranks]

    def drain(self, ranks: IDset, timestamp: float, reason: str | None, mode: str | None) -> int:
        """Drain ranks; gives the RFC 44 overwrite number. Nothing changes when it raises.

        Raises:
            FluxError: EEXIST naming ranks that are drained already for a reason, unless a mode says what to do with
                them; EINVAL for an unknown mode, and for ranks that are unknown or excluded.
        """
        if mode is not None and mode not in _MODES:
            raise FluxError(errno.EINVAL, f"invalid mode {mode!r}: it may be {', '.join(_MODES)}")
        self._check_ranks(ranks)
        already = IDset(rank for rank in ranks if mode is None and rank in self.drained and self.drained[rank].reason)
        excluded = ranks & self.excluded
        if already or excluded:
            why = " or ".join(text for text, is_so in (("already drained", already), ("excluded", excluded)) if is_so)
            raise FluxError(errno.EEXIST if already else errno.EINVAL, f"{_name(already | excluded)} {why}")
        overwrite = _MODES[mode or UPDATE]
        self.apply_drain(ranks, timestamp, reason, overwrite)
        return overwrite

    def apply_drain(self, ranks: IDset, timestamp: float, reason: str | None, overwrite: int) -> None:
        """What a drain event means (RFC 44)."""
        for rank in ranks:
            old = self.drained.get(rank)
            if old is None or overwrite == 2:
                self.drained[rank] = DrainInfo(timestamp, reason or "")
            elif overwrite == 1 or (reason and not old.reason):
                self.drained[rank] = DrainInfo(old.timestamp, reason or "")

    def undrain(self, ranks: IDset, mode: str | None = None) -> None:
        """Undrain ranks. FluxError EEXIST naming ranks that are not drained, unless there is a mode."""
        self._check_ranks(ranks)
        others = ranks - IDset(self.drained)
        if mode is None and others:
            raise FluxError(errno.EEXIST, f"{_name(others)} not drained")
        self.apply_undrain(ranks)

    def apply_undrain(self, ranks: IDset) -> None:
        """What an undrain event means."""
        for rank in ranks:
            self.drained.pop(rank, None)

    def _check_ranks(self, ranks: IDset) -> None:
        unknown = ranks - self.ranks
        if unknown or not ranks:
            what = f"{_name(unknown)} unknown" if unknown else "no ranks given"
            raise FluxError(errno.EINVAL, f"{what}: the instance has {_name(self.ranks)}")


def _name(ranks: IDset) -> str:
    return f"rank {ranks}" if ranks.count() == 1 else f"ranks {ranks}"
