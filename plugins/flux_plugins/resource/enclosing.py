"""What an instance that is a job was given by the enclosing one: the job's R, and each update of it (RFC 20)."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flux.constants import FLUX_NODEID_ANY
from flux.core.aio import AsyncFlux
from flux.errors import FluxError
from flux.job import fluid
from flux.message import FLAG_STREAMING
from flux.resource import ResourceSet
from flux.resource.Rlist import Rlist
from flux.taskmap import decode

if TYPE_CHECKING:
    from flux_plugins.resource.module import Resource

__all__ = ["EnclosingJob", "for_brokers"]


class EnclosingJob:
    """The job of the enclosing instance that this instance is, as far as its resources go.

    Attributes:
        asking: the job's R is awaited; nothing else decides until it is there.
        expiration: when the job ends, in seconds since the epoch; 0 for never, or when there is no such job.
    """

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        self.asking = False
        self.expiration = 0.0

    def follow(self, take_R: bool) -> None:
        """Begin to follow the job, if there is one; take_R: its R is to be the inventory."""
        attrs = self._resource.attrs
        if "jobid" in attrs and "parent-uri" in attrs:
            self.asking = take_R
            self._resource.spawn(self._follow(attrs["parent-uri"], attrs["jobid"]), "follow-job")

    async def _follow(self, uri: str, jobid: str) -> None:
        try:
            await self._watch(uri, fluid.decode(jobid))
        except (FluxError, ValueError) as exc:
            self._resource.log.error(f"the resources of job {jobid} in the enclosing instance: {exc}")
        self.asking = False
        self._resource.discover()

    async def _watch(self, uri: str, jobid: int) -> None:
        parent = await AsyncFlux.open(uri)
        try:
            await self._take_updates(parent, jobid)
        except FluxError as exc:
            if exc.errno != errno.ENOSYS:
                raise
            # an instance of before 0.56 cannot be followed: no update of the job is known here
            found = await parent.rpc("job-info.lookup", {"id": jobid, "keys": ["R"], "flags": 0})
            self._take(json.loads(found["R"]))
        finally:
            parent.close()

    async def _take_updates(self, parent: AsyncFlux, jobid: int) -> None:
        table = self._resource.conf.get("resource") or {}
        if table.get("no-update-watch"):
            raise FluxError(errno.ENOSYS, "resource.no-update-watch is set")
        payload = {"id": jobid, "key": "R", "flags": 0}
        async for update in parent.rpc("job-info.update-watch", payload, FLUX_NODEID_ANY, FLAG_STREAMING):
            self._take(update["R"])

    def _take(self, R: dict[str, Any]) -> None:
        resource = self._resource
        self.expiration = float(R["execution"].get("expiration", 0.0))
        if self.asking:
            self.asking = False
            inventory = for_brokers(R, resource.size, resource.attrs.get("broker.mapping"))
            if inventory is not None and not resource.is_defined:
                resource.define(inventory, "job-info")
            resource.discover()
        elif resource.is_defined:
            resource.expire(self.expiration)


def for_brokers(R: Mapping[str, Any], size: int, mapping: str | None) -> ResourceSet | None:
    """R with the ranks of this instance's brokers; None when there is not one broker for each of its ranks.

    Args:
        mapping: task map (RFC 34) of the brokers onto the job's shells, which go by the order of the ranks in R.
    """
    rlist = Rlist(R)
    ranks = sorted(rlist.ranks())
    if len(ranks) != size:
        return None
    shells = [decode(mapping).nodeid(rank) for rank in range(size)] if mapping else [*range(size)]
    if sorted(shells) != [*range(size)]:
        return None
    rlist.remap({ranks[shell]: rank for rank, shell in enumerate(shells)})
    return ResourceSet(rlist)
