"""Broker attributes as a service: attr.get, attr.list, attr.set, attr.rm (flux-broker-attributes(7))."""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from flux.errors import FluxError
from flux.message import Message
from flux.module import ALL, Module, request
from flux_plugins.statedir import StateDir

__all__ = ["Attr"]

READ_ONLY = (
    "rank size security.owner instance-level jobid jobid-path parent-uri parent-kvs-namespace broker.mapping "
    "broker.pid broker.starttime broker.uuid local-uri hostlist hostname rundir rundir-cleanup statedir-cleanup "
    "broker.critical-ranks broker.boot-method broker.quorum broker.quorum-warn broker.shutdown-warn "
    "broker.shutdown-timeout broker.sd-stop-timeout config.path tbon.interface-hint log-ring-size "
    "log-forward-level log-critical-level log-syslog-enable log-syslog-level log-stderr-mode log-level content.hash "
    "kvs.maxdirent"
).split()
UNSETTABLE = (
    "version statedir broker.cleanup-timeout broker.quorum-timeout broker.unload-builtins-timeout broker.rc1_path "
    "broker.rc3_path broker.rc2_none broker.rc2_pgrp broker.sd-notify broker.exit-norestart broker.recovery-mode "
    "content.backing-module content.backing-path content.acct-dirty content.acct-entries content.acct-size "
    "content.acct-valid content.flush-batch-count persist-directory cron.directory log-filename "
    "tbon.topo tbon.zmqdebug hello.timeout hello.hwm log-ring-used log-count "
    "tbon.zmq_io_threads tbon.child_rcvhwm tbon.prefertcp tbon.torpid_min tbon.torpid_max tbon.tcp_user_timeout "
    "tbon.connect_timeout tbon.fanout tbon.descendants tbon.level tbon.maxlevel tbon.endpoint tbon.parent-endpoint "
    "tbon.reparent-timeout tbon.parent-timeout tbon.event-backlog tbon.queue-limit"
).split()
SETTABLE = (
    "broker.exit-restart broker.module-nopanic conf.shell_initrc conf.shell_pluginpath log-stderr-level content.dump "
    "content.restore content.blob-size-limit content.flush-batch-limit content.purge-old-entry "
    "content.purge-target-size test.* vendor.* test-rd.*"
).split()
DEFAULTS = {
    "jobid-path": "/",
    "parent-uri": None,
    "broker.quorum-warn": "60s",
    "broker.quorum-timeout": "none",
    "broker.cleanup-timeout": "none",
    "broker.shutdown-warn": "60s",
    "broker.shutdown-timeout": "none",
    "broker.unload-builtins-timeout": "60s",
    "broker.sd-stop-timeout": "none",
    "tbon.child_rcvhwm": "0",
    "tbon.zmqdebug": "0",
}
"""What is shown of settings that nobody gave; None: a name without a value, as stock Flux shows it."""
_NOT_INHERITED = ("FLUX_KVS_NAMESPACE", "FLUX_JOB_ID_PATH", "FLUX_PROXY_REMOTE", "FLUX_FAKE_HOSTNAME")
"""Said to this broker alone, and by now in attributes: not for its services and children."""
_ASKED_OF_OTHERS = "test-rd."
PATTERNS = ("test.*", "test-ro.*", "test-nr.*", "test-im.*", "test-rd.*", "vendor.*", "config.*")
KNOWN = frozenset([*READ_ONLY, *UNSETTABLE, *SETTABLE])


class GetRequest(msgspec.Struct):
    name: str


class SetRequest(msgspec.Struct):
    name: str
    value: str
    force: bool = False


class Attr(Module):
    """The attribute service; the values live in the broker."""

    name = "attr"
    stage = "boot"
    before = ("overlay",)  # what is refused on every rank is refused before any waits for another
    isolatable = False

    _statedir: StateDir | None = None

    def start(self) -> None:
        """Check the attributes that were set on the command line. FluxError EINVAL names the first bad one."""
        self.table = self.broker.attrs
        for variable in _NOT_INHERITED:
            os.environ.pop(variable, None)
        for name in self.table:
            if not is_known(name):
                raise FluxError(errno.EINVAL, f"unknown attribute {name}{_nearest(name)}")
        for name, value in {**DEFAULTS, "broker.quorum": self.table["size"]}.items():
            if self.table.get(name) is None:
                self.table.set(name, value)
        if self.table.get("broker.boot-method") == "config":
            self.table.compute("config.hostlist", lambda: self.table.get("hostlist") or "")
        if self.rank == 0 and self.table.get("statedir"):
            self._statedir = StateDir(self.table)
        for name in READ_ONLY:
            if (value := self.table.get(name)) is not None:
                self.table.set(name, value, immutable=True)

    def stop(self) -> None:
        if self._statedir is not None:
            self._statedir.close()

    @request("get", allow=ALL, payload=GetRequest)
    def get(self, _msg: Message, req: GetRequest) -> dict[str, Any]:
        value = self.table.get(req.name)
        if value is None:
            raise FluxError(errno.ENOENT)
        return {"value": value, "flags": int(self.table.is_immutable(req.name))}

    @request("list", allow=ALL)
    def list(self, _msg: Message) -> dict[str, Any]:
        return {"names": [*self.table]}

    @request("set", payload=SetRequest)
    def set(self, _msg: Message, req: SetRequest) -> Any:
        name = req.name
        if self.table.is_immutable(name):
            raise FluxError(errno.EPERM, f"attribute {name} is immutable")
        if not is_known(name):
            raise FluxError(errno.ENOENT, f"unknown attribute{_nearest(name)}")
        if not req.force and not _matches(name, SETTABLE):
            raise FluxError(errno.EINVAL, "attribute may not be updated")
        if name.startswith(_ASKED_OF_OTHERS):
            return self._ask(req)
        self.table.set(name, req.value)
        return None

    async def _ask(self, req: SetRequest) -> None:
        """Change it when the service agrees that it is a setting of."""
        await self.flux.rpc("testrd.setattr", {"name": req.name, "value": req.value}, self.rank)
        self.table.set(req.name, req.value)

    @request("rm", payload=GetRequest)
    def rm(self, _msg: Message, req: GetRequest) -> None:
        if self.table.is_immutable(req.name):
            raise FluxError(errno.EPERM, f"attribute {req.name} is immutable")
        self.table.remove(req.name)

    def stats(self) -> dict[str, Any]:
        return {"attributes": len([*self.table])}


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def is_known(name: str) -> bool:
    """True for the attributes of flux-broker-attributes(7) and the free-form groups (test.*, vendor.*, ...)."""
    return name in KNOWN or _matches(name, PATTERNS)


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, KNOWN, 1)
    return f": did you mean {near[0]}?" if near else ""
