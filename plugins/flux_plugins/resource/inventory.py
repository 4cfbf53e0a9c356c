"""How the instance's R is found: in the configuration, the enclosing instance, the KVS, or by what ranks report."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flux.constants import FLUX_NODEID_UPSTREAM
from flux.cores import cores_of, online_cpus
from flux.errors import FluxError
from flux.hostlist import Hostlist
from flux.idset import IDset
from flux.kvs import lookup_async
from flux.resource import ResourceSet
from flux.resource.Rlist import Rlist
from flux.resource.sources import count_gpus
from flux_plugins.resource.discovery import configured, join, local_inventory
from flux_plugins.resource.enclosing import EnclosingJob
from flux_plugins.resource.fake import fake_inventory
from flux_plugins.resource.store import R_KEY, stored
from flux_plugins.resource.targets import target_ranks
from flux_plugins.resource.verify import discrepancies, read_verify

if TYPE_CHECKING:
    from flux_plugins.resource.module import Resource

__all__ = ["Discovery"]


class Discovery:
    """Gathers what ranks have, up the tree, and on rank 0 decides where the inventory is taken from.

    Attributes:
        hostname: this rank's. hosts: that of each rank. cpus: of the cores that it offers, by the system's
            numbers.
        job: the job of the enclosing instance that this instance is.
    """

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        self._reports: list[Rlist] = []
        self._found: list[Rlist] = []
        self._found_ranks = IDset()
        self._modes: dict[str, str] = {}
        self._fake_hosts: list[str] = []
        self.hostname = resource.attrs.get("hostname") or socket.gethostname().partition(".")[0]
        self.cpus = frozenset(os.sched_getaffinity(0))
        self.job = EnclosingJob(resource)

    @property
    def _table(self) -> Mapping[str, Any]:
        return self._resource.conf.get("resource") or {}

    @property
    def hosts(self) -> list[str]:
        known = self._resource.attrs.get("hostlist") or [self.hostname] * self._resource.size
        return self._fake_hosts or list(Hostlist(known))

    def start(self) -> None:
        """Report what this rank has. On rank 0, also look for what says what the inventory is."""
        if self._table.get("norestrict"):
            self.cpus = online_cpus()
        self.collect(self._own())
        if self._resource.rank == 0:
            self._configure()
            lookup_async(self._resource.flux, R_KEY, namespace="primary").then(self._reuse)

    def _own(self) -> Rlist:
        return local_inventory(self._resource.rank, self.hostname, cores_of(self.cpus), count_gpus())

    def _configure(self) -> None:
        resource = self._resource
        table = {**self._table, "noverify": True} if resource.force_up or resource.options.noverify else self._table
        self._modes = read_verify(table, is_job="jobid" in resource.attrs)
        wanted = fake_inventory(resource.conf)
        if wanted is not None:
            self._fake_hosts = list(wanted.nodelist)
        wanted = wanted or configured(resource.conf, self.hosts)
        excluded = self._table.get("exclude")
        if excluded:
            resource.status.excluded = target_ranks(excluded, self.hosts)
        if wanted is not None:
            resource.define(wanted, "configuration")
        self.job.follow(take_R=wanted is None and not self._table.get("rediscover"))

    def discover(self) -> None:
        """Take what the ranks have found for the inventory, once all have, if nobody has said what it is."""
        resource = self._resource
        if not resource.is_defined and not self.job.asking and self._found_ranks.count() == resource.size:
            resource.define(ResourceSet(join(self._found)), "dynamic-discovery")

    def collect(self, part: Rlist) -> None:
        """Take what a subtree has, to be passed on at the end of this turn of the loop."""
        self._reports.append(part)
        if len(self._reports) == 1:
            self._resource.flux.call_soon(self._pass_on)

    def _pass_on(self) -> None:
        resource = self._resource
        parts, self._reports = self._reports, []
        part = parts[0] if len(parts) == 1 else join(parts)
        if resource.rank > 0:
            payload = {"count": part.nnodes(), "resource": part.to_dict()}
            resource.flux.notify("resource.topo-reduce", payload, FLUX_NODEID_UPSTREAM)
        elif not resource.is_defined:
            self._found.append(part)
            self._found_ranks |= part.ranks()
            self.discover()
        elif resource.method in ("configuration", "kvs"):
            self._verify(part)

    def _verify(self, part: Rlist) -> None:
        """Drain what does not have what the inventory says."""
        resource = self._resource
        for rank, what in discrepancies(resource.inventory.rlist, part, self._modes).items():
            if rank not in resource.status.drained:
                try:
                    resource.drain_ranks(IDset(rank), f"differs from the configured resources: {what}", "update")
                except FluxError as exc:
                    resource.log.error(f"rank {rank}: {what}, but it cannot be drained: {exc}")

    def _reuse(self, lookup: Any) -> None:
        """Take the R that the instance had before, if it is still of this size and right about this rank.

        The other ranks report only when they start, which they need not do when this service is reloaded.
        """
        resource = self._resource
        data = stored(resource, R_KEY, lookup)
        if data is None or resource.is_defined:
            return
        try:
            known = ResourceSet(data)
        except ValueError as exc:
            resource.log.error(f"{R_KEY}: {exc}")
            return
        if known.ranks == IDset(range(resource.size)) and self._is_here(known.rlist.copy_ranks(resource.rank)):
            resource.define(known, "kvs")

    def _is_here(self, part: Rlist) -> bool:
        own, rank = self._own(), self._resource.rank
        return str(part.nodelist()) == self.hostname and part.children(rank) == own.children(rank)
