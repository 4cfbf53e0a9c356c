"""`flux uptime`: for how long the instance has been in its state, and what is not as usual (flux-uptime(1))."""

from __future__ import annotations

import errno
import time

from flux.errors import FluxError
from flux_cli.common import Parser, open_flux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.core.handle import Flux


def command(argv: list[str]) -> int:
    Parser("uptime", "Print how long the instance has been running.").parse_args(argv)
    with open_flux() as handle:
        print(headline(handle))
        notes = warnings(handle)
    if notes:
        print("  " + ",  ".join(notes))
    return 0


def headline(handle: Flux) -> str:
    """Time of day, state and time in it, owner, depth, size, and what of the resources is not in use."""
    now = time.time()
    life = handle.rpc("state-machine.get").get()
    began = float(handle.attr_get("broker.starttime")) if life["state"] == "run" else now - life["duration"]
    parts = [
        f" {time.strftime('%H:%M:%S', time.localtime(now))} {life['state']} {duration(now - began)}",
        f"owner {_user(int(handle.attr_get('security.owner')))}",
        f"depth {_attr(handle, 'instance-level', '0')}",
        f"size {handle.attr_get('size')}",
    ]
    status = _optional(handle, "resource.status")
    parts += [f"{count} {name}" for name in ("drained", "offline") if (count := _count(status, name))]
    return ",  ".join(parts)


def warnings(handle: Flux) -> list[str]:
    """What keeps jobs from being submitted or started, and keys from being written."""
    notes = []
    queues = _queues(handle)
    if queues and not any(queue["enable"] for queue in queues):
        notes.append("submit disabled")
    if queues and not any(queue["start"] for queue in queues):
        notes.append("scheduler stopped")
    if _optional(handle, "content.stats-get").get("full"):
        notes.append("content store full: read-only")
    return notes


def _queues(handle: Flux) -> list[dict[str, Any]]:
    """The status of each queue, the anonymous one when there are no others; [] without a job manager."""
    listed = _optional(handle, "job-manager.queue-list")
    if not listed:
        return []
    names = [{"name": name} for name in listed["queues"]] or [{}]
    return [_optional(handle, "job-manager.queue-status", name) for name in names]


def _optional(handle: Flux, topic: str, payload: dict[str, Any] | None = None) -> Any:
    """An answer, or {} from an instance without that service, or one that this broker has not joined yet."""
    try:
        return handle.rpc(topic, payload or {}, 0).get()
    except FluxError as exc:
        if exc.errno not in (errno.ENOSYS, errno.EAGAIN):
            raise
        return {}


def _count(status: dict[str, Any], name: str) -> int:
    from flux.idset import IDset

    if name == "drained":
        return sum(IDset(ids).count() for ids in status.get("drain", {}))
    return IDset(status.get(name, "")).count()


def _attr(handle: Flux, name: str, default: str) -> str:
    try:
        return str(handle.attr_get(name))
    except FileNotFoundError:
        return default


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def duration(seconds: float) -> str:
    """Seconds as a Flux standard duration with two digits: 0.75s, 1.5m, 3.1h, 2d."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds / length:.2g}{unit}" if seconds < 100 * length else f"{seconds / length:.0f}{unit}"
    return f"{seconds:.2g}s" if seconds < 100 else f"{seconds:.0f}s"
