"""An instance that is a job tells its enclosing instance how to reach it, and which of its brokers it cannot lose.

Requests `job-manager.memo`, with the URI that flux-uri(1), flux-proxy(1) and flux-jobs(1) show, and
`job-exec.critical-ranks`.
"""

from __future__ import annotations

from flux.core.aio import AsyncFlux
from flux.errors import FluxError
from flux.idset import IDset
from flux.job import fluid
from flux.module import Module
from flux.taskmap import TaskMap, decode

__all__ = ["Parent"]


class Parent(Module):
    """Speaks to the enclosing instance for this one; does nothing where there is none."""

    name = "parent"
    ranks = "0"

    async def start(self) -> None:
        if "jobid" in self.attrs and "parent-uri" in self.attrs:
            await self._announce(self.attrs["parent-uri"], fluid.decode(self.attrs["jobid"]))

    async def _announce(self, uri: str, jobid: int) -> None:
        try:
            parent = await AsyncFlux.open(uri)
        except FluxError as exc:
            self.log.error(f"the enclosing instance cannot be reached: {exc}", uri=uri)
            return
        try:
            requests = [
                ("job-manager.memo", {"id": jobid, "memo": {"uri": self._remote_uri()}}),
                ("job-exec.critical-ranks", {"id": jobid, "ranks": str(self._critical_shells())}),
            ]
            answers = [(topic, parent.rpc(topic, payload)) for topic, payload in requests]
            for topic, answer in answers:
                try:
                    await answer
                except FluxError as exc:
                    self.log.error(f"the enclosing instance refuses {topic}: {exc}")
        finally:
            parent.close()

    def _remote_uri(self) -> str:
        path = self.attrs["local-uri"].partition("://")[2]
        return f"ssh://{self.attrs['hostname']}{path}"

    def _critical_shells(self) -> IDset:
        """Ranks of the shells that started the critical brokers: one shell starts all brokers of its node."""
        ranks = IDset(self.attrs["broker.critical-ranks"])
        mapping = decode(self.attrs["broker.mapping"]) if "broker.mapping" in self.attrs else TaskMap()
        return IDset(mapping.nodeid(rank) for rank in ranks) if mapping.known else ranks
