"""Bootstrap through a PMI-1 server (RFC 13): `flux start`, the job shell, or another launcher.

The server is reached by the descriptor in PMI_FD, the address in PMI_PORT, or a launcher's own library: the one that
FLUX_PMI_LIBRARY_PATH names, or under a launcher that is known to bring one, the libpmi.so that the linker finds.

Business cards are the values of keys named after ranks. The launcher may tell more: `flux.instance-level` (the brokers
are a job of a Flux instance; the key-value space is named after the job), `flux.taskmap` or PMI_process_mapping (which
ranks share a node), `flux.tbon-interface-hint`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from flux.errors import FluxError
from flux.hooks.kernel import BootInfo, Bootstrap
from flux.pmi.connect import connect, has_pmi
from flux.taskmap import TaskMap
from flux.taskmap import decode as decode_taskmap
from flux_plugins.bootstrap.hostname import fake_hostname

if TYPE_CHECKING:
    from flux.pmi.client import PMIClient
    from flux.pmi.library import LibraryClient

__all__ = ["PMIBootstrap"]

_VARIABLES = ("PMI_FD", "PMI_PORT", "PMI_ID", "PMI_RANK", "PMI_SIZE", "PMI_SPAWNED", "FLUX_PMI_LIBRARY_PATH")
_ENCLOSING = {
    "parent-uri": "FLUX_URI",
    "parent-kvs-namespace": "FLUX_KVS_NAMESPACE",
    "jobid-path": "FLUX_JOB_ID_PATH",
}


class PMIBootstrap(Bootstrap):
    """Brokers started as the processes of one parallel program."""

    name: ClassVar[str] = "pmi"

    @classmethod
    def available(cls, environ: Mapping[str, str], conf: Mapping[str, Any]) -> bool:
        return has_pmi(environ)

    def __init__(self, environ: Mapping[str, str], conf: Mapping[str, Any]) -> None:
        super().__init__(environ, conf)
        self._client: PMIClient | LibraryClient | None = None
        self._size = 0
        self._max_value = 0

    @property
    def client(self) -> PMIClient | LibraryClient:
        if self._client is None:
            raise FluxError(errno.ENOTCONN, "the PMI server is not connected: open() comes first, finalize() last")
        return self._client

    def open(self) -> BootInfo:
        client = self._client = connect(self.environ)
        client.init()
        self._max_value = client.get_maxes()[2]
        self._size = client.size
        kvsname = client.get_my_kvsname()
        return BootInfo(client.rank, client.size, kvsname, self._attributes(kvsname))

    def _attributes(self, kvsname: str) -> dict[str, str]:
        attrs = {"instance-level": "0", **fake_hostname(self.environ)}
        level = self._optional("flux.instance-level")
        taskmap = hint = None
        if level is not None:
            attrs |= {"instance-level": level, "jobid": kvsname, **self._enclosing()}
            hint = self._optional("flux.tbon-interface-hint")
            taskmap = self._optional("flux.taskmap")
        mapping = self._mapping(taskmap or self._optional("PMI_process_mapping"))
        if mapping is not None:
            attrs["broker.mapping"] = mapping.encode()
        if hint is not None:
            attrs["tbon.interface-hint"] = hint
        return attrs

    def _enclosing(self) -> dict[str, str]:
        """Where the instance is whose job this one is, as the job shell has told each task."""
        named = {name: self.environ.get(variable, "") for name, variable in _ENCLOSING.items()}
        return {name: value for name, value in named.items() if value}

    def _optional(self, key: str) -> str | None:
        try:
            return self.client.get(key)
        except FileNotFoundError:
            return None

    def _mapping(self, text: str | None) -> TaskMap | None:
        """The map of ranks to nodes; None when the launcher gives none, or one of another program."""
        if not text:
            return None
        try:
            taskmap = decode_taskmap(text)
        except ValueError as exc:
            raise FluxError(errno.EPROTO, f"the PMI server gave a process mapping that cannot be read: {exc}") from None
        return taskmap if taskmap.ntasks() == self._size else None

    def publish(self, card: dict[str, Any]) -> None:
        text = msgspec.json.encode(card).decode()
        if len(text) >= self._max_value:
            raise FluxError(errno.EFBIG, f"business card of {len(text)} bytes: the PMI server takes {self._max_value}")
        self.client.put(str(self.client.rank), text)

    def barrier(self) -> None:
        self.client.barrier()

    def lookup(self, rank: int) -> dict[str, Any]:
        text = self.client.get(str(rank))
        try:
            card: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.MsgspecError as exc:
            raise FluxError(errno.EPROTO, f"business card of rank {rank} cannot be read: {exc}") from None
        return card

    def finalize(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.finalize()
            client.close()
            self._forget()

    def _forget(self) -> None:
        """What the broker starts must not get hold of its place in the program."""
        if self.environ is os.environ:
            for name in _VARIABLES:
                os.environ.pop(name, None)

    def abort(self, text: str) -> None:
        client, self._client = self._client, None
        if client is not None:
            try:
                client.request_abort(1, text)
            except (BrokenPipeError, ConnectionResetError):
                # the launcher is gone, and so is everyone it could have told
                return
            finally:
                client.close()
