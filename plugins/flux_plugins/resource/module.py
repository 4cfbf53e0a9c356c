"""The resource service: inventory, availability, drain; the scheduler acquires its resources here (RFC 28, RFC 44).

Every rank sends what it has up the tree; a rank joins what comes in within one turn of the loop. Rank 0 is the
authority: it defines the instance's R when the inventory is complete.
"""

from __future__ import annotations

import errno
import time
from typing import Any

import msgspec

from flux.errors import FluxError, ProtocolError
from flux.eventlog import Event, decode
from flux.idset import IDset
from flux.kvs import lookup_async
from flux.message import Message
from flux.module import DEFERRED, USER, Module, request
from flux.resource import ResourceSet
from flux.resource.Rlist import Rlist
from flux_plugins.resource.acquire import Acquisition
from flux_plugins.resource.availability import Availability
from flux_plugins.resource.discovery import read_R, with_nodelist
from flux_plugins.resource.history import history_limit, replay, trimmed, with_ranks_of
from flux_plugins.resource.inventory import Discovery
from flux_plugins.resource.journal import Journal, journal_limit
from flux_plugins.resource.protocol import (
    DrainRequest,
    ExpirationRequest,
    RanksRequest,
    ReduceRequest,
    ReloadRequest,
    UndrainRequest,
    WaitUpRequest,
)
from flux_plugins.resource.status import Status
from flux_plugins.resource.store import EVENTLOG, Store, stored
from flux_plugins.resource.targets import target_ranks
from flux_plugins.resource.topology import hwloc_xml
from flux_plugins.resource.xml_files import read_xml

__all__ = ["Resource"]


class Options(msgspec.Struct):
    """noverify: see flux-config-resource(5). monitor_force_up: take all ranks to be online, for tests."""

    noverify: bool = False
    monitor_force_up: bool = False


class Resource(Module):
    """What the instance has.

    Attributes:
        method: where the inventory was taken from; "" while there is none.
        force_up: every rank of the inventory is taken to be online.
    """

    name = "resource"
    requires = ("groups", "kvs")
    after = ("groups", "kvs", "config")
    options_type = Options
    options: Options

    def __init__(self) -> None:
        self.force_up = self.options.monitor_force_up or "fake-resources" in self.conf
        self._inventory: ResourceSet | None = None
        self._R: dict[str, Any] | None = None
        self.method = ""
        self.status = Status(IDset(range(self.size)))
        self._store = Store(self)
        self.journal = Journal(self, self._store.append)
        self.acquisition = Acquisition(self)
        self._availability = Availability(self)
        self._discovery = Discovery(self)
        self.reconfigured(self.conf)

    async def start(self) -> None:
        earlier: list[Event] = []
        if self.rank == 0:
            if self.broker.attrs.get("broker.recovery-mode") is None:  # else there is an instance to repair, not to use
                self._availability.follow()
            earlier = await self._earlier_events()
        self._discovery.start()
        self._restore(earlier)

    def reconfigured(self, conf: dict[str, Any]) -> None:
        self.journal.limit = journal_limit(conf.get("resource") or {})
        history_limit(conf.get("resource") or {})

    def stop(self) -> None:
        self.acquisition.end(errno.ECANCELED)

    # -- the inventory

    @request("topo-reduce", payload=ReduceRequest)
    def topo_reduce(self, _msg: Message, req: ReduceRequest) -> Any:
        self._discovery.collect(Rlist(req.resource))
        return DEFERRED

    def discover(self) -> None:
        """Nothing else says what the inventory is: let it be what the ranks have found."""
        self._discovery.discover()

    def define(self, inventory: ResourceSet, method: str) -> None:
        """Let the instance have these resources; method says where they come from."""
        self._inventory, self.method = inventory, method
        inventory.expiration = self._discovery.job.expiration or inventory.expiration
        self._R = with_nodelist(inventory)
        self.status = self.status.moved_to(inventory.ranks)
        self._store.put_R(self._R)
        ranks, nodelist = str(inventory.ranks), str(inventory.nodelist)
        self.journal.post("restart", {"ranks": ranks, "online": str(self.status.online), "nodelist": nodelist})
        self.journal.post("resource-define", {"method": method}, self._R)
        self._availability.apply()
        self.acquisition.offer()

    async def _earlier_events(self) -> list[Event]:
        """What is on record of earlier runs of the instance (RFC 44), without what is too old."""
        lookup = lookup_async(self.flux, EVENTLOG, namespace="primary")
        await lookup.wait()
        data = stored(self, EVENTLOG, lookup)
        try:
            events = decode(data or b"")
        except ValueError as exc:
            self.log.error(f"{EVENTLOG}: {exc}")
            return []
        kept = trimmed(events, time.time() - history_limit(self.conf.get("resource") or {}))
        if len(kept) < len(events):
            self._store.put_eventlog(kept)
        return kept

    def _restore(self, earlier: list[Event]) -> None:
        """Drain what an earlier run had drained."""
        drains = with_ranks_of(earlier, self._discovery.hosts)
        self.journal.remember(drains)
        replay(drains, self.status)
        self.acquisition.update()

    # -- the scheduler

    @property
    def R(self) -> dict[str, Any]:
        """The inventory as R. FluxError ENOENT until it is known."""
        if self._R is None:
            raise FluxError(errno.ENOENT, "the resources of the instance are not known yet")
        return self._R

    @property
    def inventory(self) -> ResourceSet:
        if self._inventory is None:
            raise FluxError(errno.ENOENT, "the resources of the instance are not known yet")
        return self._inventory

    @property
    def is_defined(self) -> bool:
        return self._inventory is not None

    @request("acquire", streaming=True, cancel="acquire-cancel")
    def acquire(self, msg: Message) -> Any:
        self._require_leader()
        self.acquisition.add(msg)
        return DEFERRED

    @request("acquire-mute")
    def acquire_mute(self, _msg: Message) -> None:
        self.acquisition.muted = True

    # -- status

    def _require_leader(self) -> None:
        if self.rank != 0:
            raise ProtocolError("this RPC is only available on rank 0")

    @request("status", allow=USER)
    def show_status(self, _msg: Message) -> dict[str, Any]:
        self._require_leader()
        status = self.status
        return {
            "R": self._R or with_nodelist(ResourceSet()),
            "drain": status.drained_by_reason(),
            "online": str(status.online),
            "offline": str(status.offline),
            "exclude": str(status.excluded),
            "torpid": str(status.torpid),
        }

    @request("sched-status", allow=USER)
    async def sched_status(self, _msg: Message) -> dict[str, Any]:
        self._require_leader()
        inventory = self._inventory or ResourceSet()
        return {
            "all": with_nodelist(inventory.copy_ranks(inventory.ranks - self.status.excluded)),
            "down": with_nodelist(inventory.copy_ranks(self.status.down)),
            "allocated": await self._allocated(),
        }

    async def _allocated(self) -> dict[str, Any]:
        for topic in ("job-manager.resource-status", "sched.resource-status"):
            try:
                return with_nodelist((await self.flux.rpc(topic))["allocated"])
            except FluxError as exc:
                if exc.errno not in (errno.ENOSYS, errno.EAGAIN):
                    raise
        return with_nodelist(ResourceSet())

    @request("get")
    def get(self, _msg: Message) -> dict[str, Any]:
        return {"R": self.R, "method": self.method}

    @request("topo-get", allow=USER)
    def topo_get(self, _msg: Message) -> str:
        return hwloc_xml(self._discovery.hostname, self._discovery.cpus)

    @request("journal", streaming=True, cancel="journal-cancel")
    def follow_journal(self, msg: Message) -> Any:
        self._require_leader()
        self.journal.follow(msg)
        return DEFERRED

    def stats(self) -> dict[str, Any]:
        return {"events": len(self.journal), "up": str(self.status.up), "acquired": self.acquisition.taken}

    # -- administration

    def _ranks_of(self, text: str) -> IDset:
        inventory = self.inventory
        names = dict(zip(sorted(inventory.ranks), inventory.nodelist, strict=True))
        return target_ranks(text, [names.get(rank, "") for rank in range(max(names) + 1)])

    def _names(self, ranks: IDset) -> str:
        return str(self.inventory.copy_ranks(ranks).nodelist)

    @request("drain", payload=DrainRequest)
    def drain(self, _msg: Message, req: DrainRequest) -> None:
        self._require_leader()
        self.drain_ranks(self._ranks_of(req.targets), req.reason, req.mode)

    def drain_ranks(self, ranks: IDset, reason: str | None, mode: str | None) -> None:
        """Drain ranks, as the drain request does."""
        overwrite = self.status.drain(ranks, 0.0, reason, mode)
        context = {"idset": str(ranks), "nodelist": self._names(ranks), **({"reason": reason} if reason else {})}
        posted = self.journal.post("drain", context | {"overwrite": overwrite})
        for rank in ranks:
            info = self.status.drained[rank]
            if not info.timestamp:
                self.status.drained[rank] = info._replace(timestamp=posted)
        self.acquisition.update()

    @request("undrain", payload=UndrainRequest)
    def undrain(self, _msg: Message, req: UndrainRequest) -> None:
        self._require_leader()
        ranks = self._ranks_of(req.targets)
        self.status.undrain(ranks, req.mode)
        context = {"idset": str(ranks), "nodelist": self._names(ranks), "overwrite": int(req.mode is not None)}
        if req.reason:
            context["reason"] = req.reason
        self.journal.post("undrain", context)
        self.acquisition.update()

    @request("reload", payload=ReloadRequest)
    def reload(self, _msg: Message, req: ReloadRequest) -> None:
        self._require_leader()
        if self.acquisition.taken:
            raise FluxError(errno.EBUSY, "resources are busy (unload scheduler?)")
        inventory = read_xml(req.path) if req.xml else read_R(req.path)
        beyond = inventory.ranks - IDset(range(self.size))
        if beyond and not req.force:
            raise FluxError(errno.EOVERFLOW, f"{req.path} has ranks {beyond}, the instance has {self.size} brokers")
        self.define(inventory, "reload")

    @request("monitor-waitup", payload=WaitUpRequest)
    def monitor_waitup(self, msg: Message, req: WaitUpRequest) -> Any:
        self._require_leader()
        if not 0 <= req.up <= self.size:
            raise FluxError(errno.EINVAL, f"up may be 0 to {self.size}, not {req.up}")
        self._availability.wait_up(req.up, msg)
        return DEFERRED

    @request("monitor-force-down", payload=RanksRequest)
    def monitor_force_down(self, _msg: Message, req: RanksRequest) -> None:
        self._require_leader()
        self.status.forced_down |= IDset(req.ranks)
        self._availability.apply()

    @request("expiration-update", payload=ExpirationRequest)
    def expiration_update(self, _msg: Message, req: ExpirationRequest) -> None:
        self._require_leader()
        self.expire(req.expiration)

    def expire(self, expiration: float) -> None:
        """The resources go away then, in seconds since the epoch; 0 for never."""
        if self.inventory.expiration == expiration:
            return
        self.inventory.expiration = expiration
        self._R = with_nodelist(self.inventory)
        self._store.put_R(self._R)
        self.journal.post("resource-update", {"expiration": expiration})
        self.acquisition.publish({"expiration": expiration})

    def disconnected(self, sender: str) -> None:
        self._availability.disconnected(sender)
