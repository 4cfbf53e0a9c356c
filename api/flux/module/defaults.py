"""The methods every module has (RFC 5, default message handlers); a module's own handler replaces one."""

from __future__ import annotations

import errno
import resource
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flux.errors import FluxError, ProtocolError
from flux.message import CONTROL, EVENT, REQUEST, RESPONSE, Message
from flux.module.base import ALL, DEFERRED, OWNER, USER, Handler, Kind

if TYPE_CHECKING:
    from flux.module.runner import ModuleRunner

__all__ = ["DEFAULT_HANDLERS", "Counters", "route_text", "rusage"]

_COUNTED = {"request": REQUEST, "response": RESPONSE, "event": EVENT, "control": CONTROL}
_RUSAGE_FIELDS = tuple(name.removeprefix("ru_") for name in dir(resource.struct_rusage) if name.startswith("ru_"))
_WHO = {"self": resource.RUSAGE_SELF, "children": resource.RUSAGE_CHILDREN, "thread": resource.RUSAGE_THREAD}


class Counters:
    """Messages received and sent, by type."""

    __slots__ = ("_rx", "_tx")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._rx = [0] * 9
        self._tx = [0] * 9

    def count_rx(self, type: int) -> None:
        self._rx[type] += 1

    def count_tx(self, type: int) -> None:
        self._tx[type] += 1

    def as_dict(self) -> dict[str, dict[str, int]]:
        return {
            "tx": {name: self._tx[bit] for name, bit in _COUNTED.items()},
            "rx": {name: self._rx[bit] for name, bit in _COUNTED.items()},
        }


def route_text(msg: Message, own_id: str) -> str:
    """The way of a request as `flux ping` shows it: ids cut to 8 characters, the sender first."""
    return "!".join(part[:8] for part in [*(msg.routes or ()), own_id])


def rusage(who: str = "self") -> dict[str, Any]:
    """getrusage(2) as an object. FluxError EINVAL for a who other than self, children or thread."""
    if who not in _WHO:
        raise FluxError(errno.EINVAL, f"{who} is unsupported")
    usage = resource.getrusage(_WHO[who])
    return {field: getattr(usage, "ru_" + field) for field in _RUSAGE_FIELDS}


def _ping(runner: ModuleRunner, msg: Message) -> dict[str, Any]:
    if msg.payload is None:
        raise ProtocolError("ping needs a JSON object")
    return {
        **msg.payload,
        "route": route_text(msg, runner.uuid),
        "userid": msg.userid,
        "rolemask": msg.rolemask,
        "rank": int(runner.flux.attr_cache.get("rank", -1)),
    }


def _stats_get(runner: ModuleRunner, _msg: Message) -> dict[str, Any]:
    return {**runner.counters.as_dict(), **runner.instance.stats()}


def _stats_clear(runner: ModuleRunner, _msg: Message) -> None:
    runner.clear_stats()


def _rusage(_runner: ModuleRunner, msg: Message) -> dict[str, Any]:
    return rusage((msg.payload or {}).get("who", "self"))


def _debug(runner: ModuleRunner, msg: Message) -> dict[str, Any]:
    payload = msg.payload or {}
    op, flags = payload.get("op"), payload.get("flags")
    if not isinstance(flags, int):
        raise ProtocolError("debug needs an integer `flags`")
    current = runner.debug_flags
    results = {"set": flags, "clr": 0, "setbit": current | flags, "clrbit": current & ~flags}
    if op not in results:
        raise ProtocolError(f"debug has no op {op!r}: it takes {', '.join(results)}")
    runner.debug_flags = results[op]
    return {"flags": runner.debug_flags}


def _shutdown(runner: ModuleRunner, msg: Message) -> Any:
    runner.request_exit(bool((msg.payload or {}).get("graceful")))
    return DEFERRED


def _config_reload(runner: ModuleRunner, msg: Message) -> None:
    conf = msg.payload or {}
    runner.instance.reconfigured(conf)
    runner.instance.conf = conf


def _disconnect(runner: ModuleRunner, msg: Message) -> Any:
    runner.disconnect(msg.sender)
    return DEFERRED


def _cancel(runner: ModuleRunner, msg: Message) -> Any:
    return runner.cancel_stream(msg)


def _default(topic: str, allow: int) -> Handler:
    return Handler(topic, topic, "", allow, False, None, "", Kind.PLAIN)


DEFAULT_HANDLERS: dict[Handler, Callable[..., Any]] = {
    _default("ping", USER): _ping,
    _default("stats-get", ALL): _stats_get,
    _default("stats-clear", OWNER): _stats_clear,
    _default("rusage", USER): _rusage,
    _default("debug", OWNER): _debug,
    _default("shutdown", OWNER): _shutdown,
    _default("config-reload", OWNER): _config_reload,
    _default("config-sync", OWNER): _config_reload,
    _default("disconnect", ALL): _disconnect,
    _default("cancel", ALL): _cancel,
}
