"""The table `flux` of `flux lua`: handles, RPCs, the key-value store, events and log (flux-lua(1))."""

from __future__ import annotations

import os
from collections.abc import Callable

from flux import kvs
from flux.constants import FLUX_NODEID_ANY
from flux.core.handle import Flux
from flux_shell.sandbox import LuaState, answering, to_data

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["LuaBindings"]

_SOURCE = os.path.join(os.path.dirname(__file__), "lua", "flux.lua")


class LuaBindings:
    """Handles that a script opened, by number.

    Args:
        state: of the script; gets the global `flux`.
    """

    def __init__(self, state: LuaState) -> None:
        self._state = state
        self._handles: list[Flux] = []
        functions: dict[str, Callable[..., Any]] = {
            "rpc": self._rpc,
            "getattr": Flux.attr_get,
            "setattr": Flux.attr_set,
            "subscribe": Flux.event_subscribe,
            "unsubscribe": Flux.event_unsubscribe,
            "recv_event": self._recv_event,
            "publish": lambda handle, topic, payload: handle.event_publish(topic, to_data(payload, "PAYLOAD")),
            "log": Flux.log,
            "close": Flux.close,
            "kvs_get": lambda handle, key: self._state.table(kvs.get(handle, key)),
            "kvs_put": lambda handle, key, value: kvs.put(handle, key, to_data(value, "VALUE")),
            "kvs_unlink": kvs.put_unlink,
            "kvs_mkdir": kvs.put_mkdir,
            "kvs_commit": lambda handle: kvs.commit(handle),
            "kvs_dir": lambda handle, key: self._state.table(sorted(kvs.get_dir(handle, key or "."))),
            "kvs_exists": kvs.exists,
        }
        host = {name: answering(self._of_handle(function)) for name, function in functions.items()}
        host["open"] = answering(self._open)
        state.run_file(_SOURCE, state.functions(host), state.checker)

    def close(self) -> None:
        """Close what the script left open."""
        for handle in self._handles:
            handle.close()

    def _open(self, uri: str | None) -> Any:
        handle = Flux(uri)
        self._handles.append(handle)
        facts = {"id": len(self._handles) - 1, "rank": handle.get_rank(), "size": handle.get_size()}
        return self._state.table(facts)

    def _of_handle(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda id, *args: function(self._handles[id], *args)

    def _rpc(self, handle: Flux, topic: str, payload: Any, nodeid: int | None) -> Any:
        where = FLUX_NODEID_ANY if nodeid is None else nodeid
        return self._state.table(handle.rpc(topic, to_data(payload, "PAYLOAD"), where).get())

    def _recv_event(self, handle: Flux, topic: str | None) -> Any:
        event = handle.event_recv(topic)
        return self._state.table({"topic": event.topic, "payload": event.payload})
