"""The resource service: inventory, availability, drain; the scheduler acquires its resources here (RFC 28, RFC 44).

Every rank sends what it has up the tree; a rank joins what comes in within one turn of the loop. Rank 0 is the
authority: it defines the instance's R when the inventory is complete.
"""

from __future__ import annotations

import errno
import socket
from typing import Any

from flux.constants import FLUX_NODEID_UPSTREAM
from flux.errors import FluxError, ProtocolError
from flux.eventlog import Event, decode
from flux.hostlist import Hostlist
from flux.idset import IDset
from flux.kvs import KVSTxn, lookup_async
from flux.kvs.patient import PatientCommit
from flux.message import FLAG_STREAMING, Message
from flux.module import DEFERRED, USER, Module, request
from flux.resource import ResourceSet
from flux.resource.Rlist import Rlist
from flux_plugins.resource.acquire import Acquisition
from flux_plugins.resource.discovery import configured, join, local_inventory, missing, read_R, with_nodelist
from flux_plugins.resource.enclosing import EnclosingJob
from flux_plugins.resource.journal import Journal
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
from flux_plugins.resource.topology import hwloc_xml
from flux_plugins.resource.xml_files import read_xml

__all__ = ["Resource"]


class Resource(Module):
    """What the instance has."""

    name = "resource"
    requires = ("groups", "kvs")
    after = ("groups", "kvs", "config")

    def __init__(self) -> None:
        self._hostname = self.attrs.get("hostname") or socket.gethostname().partition(".")[0]
        self._reports: list[Rlist] = []
        self._found: list[Rlist] = []
        self._found_ranks = IDset()
        self._inventory: ResourceSet | None = None
        self._R: dict[str, Any] | None = None
        self._method = ""
        self.status = Status(IDset(range(self.size)))
        self._members = IDset()
        self._waiting_up: list[tuple[int, Message]] = []
        self._txn = KVSTxn()
        self._committing = False
        self._journal = Journal(self, self._store)
        self._acquired = Acquisition(self)
        self._job = EnclosingJob(self)

    # -- discovery

    def start(self) -> None:
        self._collect(local_inventory(self.rank, self._hostname))
        if self.rank == 0:
            if self.broker.attrs.get("broker.recovery-mode") is None:  # else there is an instance to repair, not to use
                online = self.flux.rpc("groups.get", {"name": "broker.online"}, 0, FLAG_STREAMING)
                online.then(self._online_changed)
            self._configure()
            lookup_async(self.flux, "resource.eventlog", namespace="primary").then(self._restore)
            lookup_async(self.flux, "resource.R", namespace="primary").then(self._reuse)

    def _configure(self) -> None:
        hosts = list(Hostlist(self.broker.attrs.get("hostlist") or [self._hostname] * self.size))
        wanted = configured(self.conf, hosts)
        excluded = (self.conf.get("resource") or {}).get("exclude")
        if excluded:
            self.status.excluded = self._targets(excluded, hosts)
        if wanted is not None:
            self.define(wanted, "configuration")
        self._job.follow(take_R=wanted is None and not (self.conf.get("resource") or {}).get("rediscover"))

    def discover(self) -> None:
        """Take what the ranks have found for the inventory, once all have, if nobody has said what it is."""
        if self._inventory is None and not self._job.asking and self._found_ranks.count() == self.size:
            self.define(ResourceSet(join(self._found)), "dynamic-discovery")

    def _collect(self, part: Rlist) -> None:
        """Take what a subtree has, to be passed on at the end of this turn of the loop."""
        self._reports.append(part)
        if len(self._reports) == 1:
            self.flux.call_soon(self._pass_on)

    def _pass_on(self) -> None:
        parts, self._reports = self._reports, []
        part = parts[0] if len(parts) == 1 else join(parts)
        if self.rank > 0:
            payload = {"count": part.nnodes(), "resource": part.to_dict()}
            self.flux.notify("resource.topo-reduce", payload, FLUX_NODEID_UPSTREAM)
            return
        if self._inventory is None:
            self._found.append(part)
            self._found_ranks |= part.ranks()
            self.discover()
        elif self._method in ("configuration", "kvs"):
            self._verify(part)

    @request("topo-reduce", payload=ReduceRequest)
    def topo_reduce(self, _msg: Message, req: ReduceRequest) -> Any:
        self._collect(Rlist(req.resource))
        return DEFERRED

    def _verify(self, part: Rlist) -> None:
        """Drain what has less than the configuration says (`noverify` leaves it)."""
        if (self.conf.get("resource") or {}).get("noverify") or self._inventory is None:
            return
        for rank, what in missing(self._inventory.rlist, part).items():
            if rank not in self.status.drained:
                self._drain(IDset(rank), f"rank {rank} lacks configured resources: {what}", "update")

    def define(self, inventory: ResourceSet, method: str) -> None:
        """Let the instance have these resources; method says where they come from."""
        self._inventory, self._method = inventory, method
        inventory.expiration = self._job.expiration or inventory.expiration
        self._R = with_nodelist(inventory)
        online = self.status.online
        drained, excluded = self.status.drained, self.status.excluded
        self.status = Status(inventory.ranks)
        self.status.drained, self.status.excluded = drained, excluded
        self.status.online = online & inventory.ranks
        self._txn.put("resource.R", self._R)
        ranks, nodelist = str(inventory.ranks), str(inventory.nodelist)
        self._journal.post("restart", {"ranks": ranks, "online": str(self.status.online), "nodelist": nodelist})
        self._journal.post("resource-define", {"method": method}, self._R)
        self._apply_members()
        self._acquired.offer()

    def _reuse(self, lookup: Any) -> None:
        """Take the R that the instance had before, if it is still of this size and right about this rank.

        The other ranks report only when they start, which they need not do when this service is reloaded.
        """
        data = self._stored("resource.R", lookup)
        if data is None or self._inventory is not None:
            return
        try:
            stored = ResourceSet(data)
        except ValueError as exc:
            self.log.error(f"resource.R: {exc}")
            return
        if stored.ranks == IDset(range(self.size)) and self._is_here(stored.rlist.copy_ranks(self.rank)):
            self.define(stored, "kvs")

    def _is_here(self, part: Rlist) -> bool:
        own = local_inventory(self.rank, self._hostname)
        return str(part.nodelist()) == self._hostname and part.children(self.rank) == own.children(self.rank)

    def _stored(self, key: str, lookup: Any) -> bytes | None:
        try:
            value: bytes = lookup.value()
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.ENOSYS, errno.ENOTSUP):
                self.log.error(f"{key}: {exc}")
            return None
        return value

    def _restore(self, lookup: Any) -> None:
        """Drain what an earlier run of the instance had drained (RFC 44)."""
        data = self._stored("resource.eventlog", lookup)
        try:
            events = decode(data or b"")
        except ValueError as exc:
            self.log.error(f"resource.eventlog: {exc}")
            return
        for event in events:
            self._replay(event)
        self._acquired.update()

    def _replay(self, event: Event) -> None:
        context = event.context
        if event.name == "drain":
            reason, overwrite = context.get("reason"), context.get("overwrite", 0)
            self.status.apply_drain(IDset(context["idset"]), event.timestamp, reason, overwrite)
        elif event.name == "undrain":
            self.status.apply_undrain(IDset(context["idset"]))

    # -- store

    def _store(self, event: dict[str, Any]) -> None:
        if not self._txn.ops or all(op["key"] != "resource.eventlog" for op in self._txn.ops):
            self.flux.call_soon(self._commit)
        self._txn.append("resource.eventlog", Event(**event).encode())

    def _commit(self) -> None:
        if self._committing or not self._txn.ops:
            return
        self._committing = True
        txn, self._txn = self._txn, KVSTxn()
        PatientCommit(self.flux, txn, namespace="primary").then(self._committed)

    def _committed(self, commit: Any) -> None:
        self._committing = False
        try:
            commit.get()
        except FluxError as exc:
            self.log.error(f"resource.eventlog could not be stored: {exc}")
        self._commit()

    # -- availability

    def _online_changed(self, rpc: Any) -> None:
        try:
            self._members = IDset(rpc.get()["members"])
        except FluxError as exc:
            if exc.errno != errno.ENODATA:
                self.log.error(f"cannot follow which brokers are online: {exc}")
            return
        rpc.reset()
        self._apply_members()

    def _apply_members(self) -> None:
        for name, ranks in self.status.on_online(self._members):
            self._journal.post(name, {"idset": str(ranks)})
        self._acquired.update()
        count = self.status.online.count()
        ready = [msg for up, msg in self._waiting_up if up <= count]
        self._waiting_up = [(up, msg) for up, msg in self._waiting_up if up > count]
        for msg in ready:
            self.respond(msg)

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
        self._acquired.add(msg)
        return DEFERRED

    @request("acquire-mute")
    def acquire_mute(self, _msg: Message) -> None:
        self._acquired.muted = True

    def stop(self) -> None:
        self._acquired.end(errno.ECANCELED)

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
            "torpid": "",
        }

    @request("sched-status", allow=USER)
    async def sched_status(self, _msg: Message) -> dict[str, Any]:
        self._require_leader()
        inventory = self._inventory or ResourceSet()
        return {
            "all": with_nodelist(inventory),
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
        return {"R": self.R, "method": self._method}

    @request("topo-get", allow=USER)
    def topo_get(self, _msg: Message) -> str:
        return hwloc_xml(self._hostname)

    @request("journal", streaming=True, cancel="journal-cancel")
    def journal(self, msg: Message) -> Any:
        self._require_leader()
        self._journal.follow(msg)
        return DEFERRED

    def stats(self) -> dict[str, Any]:
        return {"events": len(self._journal), "up": str(self.status.up), "acquired": self._acquired.taken}

    # -- administration

    def _targets(self, text: str, hosts: list[str]) -> IDset:
        """Ranks of an idset, or of a hostlist. FluxError EINVAL when it is neither."""
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

    def _ranks_of(self, text: str) -> IDset:
        inventory = self.inventory
        names = dict(zip(sorted(inventory.ranks), inventory.nodelist, strict=True))
        return self._targets(text, [names.get(rank, "") for rank in range(max(names) + 1)])

    def _names(self, ranks: IDset) -> str:
        return str(self.inventory.copy_ranks(ranks).nodelist)

    @request("drain", payload=DrainRequest)
    def drain(self, _msg: Message, req: DrainRequest) -> None:
        self._require_leader()
        self._drain(self._ranks_of(req.targets), req.reason, req.mode)

    def _drain(self, ranks: IDset, reason: str | None, mode: str | None) -> None:
        overwrite = self.status.drain(ranks, 0.0, reason, mode)
        context = {"idset": str(ranks), "nodelist": self._names(ranks), "overwrite": overwrite}
        if reason:
            context["reason"] = reason
        posted = self._journal.post("drain", context)
        for rank in ranks:
            info = self.status.drained[rank]
            if not info.timestamp:
                self.status.drained[rank] = info._replace(timestamp=posted)
        self._acquired.update()

    @request("undrain", payload=UndrainRequest)
    def undrain(self, _msg: Message, req: UndrainRequest) -> None:
        self._require_leader()
        ranks = self._ranks_of(req.targets)
        self.status.undrain(ranks, req.mode)
        context = {"idset": str(ranks), "nodelist": self._names(ranks)}
        if req.reason:
            context["reason"] = req.reason
        self._journal.post("undrain", context)
        self._acquired.update()

    @request("reload", payload=ReloadRequest)
    def reload(self, _msg: Message, req: ReloadRequest) -> None:
        self._require_leader()
        if self._acquired.taken:
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
        self._waiting_up.append((req.up, msg))
        self._apply_members()
        return DEFERRED

    @request("monitor-force-down", payload=RanksRequest)
    def monitor_force_down(self, _msg: Message, req: RanksRequest) -> None:
        self._require_leader()
        self.status.forced_down |= IDset(req.ranks)
        self._apply_members()

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
        self._txn.put("resource.R", self._R)
        self._journal.post("resource-update", {"expiration": expiration})
        self._acquired.publish({"expiration": expiration})

    def disconnected(self, sender: str) -> None:
        self._waiting_up = [(up, msg) for up, msg in self._waiting_up if msg.sender != sender]
