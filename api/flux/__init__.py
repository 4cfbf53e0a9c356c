"""Flux: the library everything speaks through, and the users' Python API.

`flux.Flux()` opens a connection to the enclosing instance. Sub-packages load when first
used: importing `flux` itself costs next to nothing and pulls in neither asyncio nor ZeroMQ.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing takes longer to import than a small command takes to run
if TYPE_CHECKING:
    from typing import Any

    from flux.core.aio import AsyncFlux as AsyncFlux
    from flux.core.handle import Flux as Flux
    from flux.errors import FluxError as FluxError

_LAZY = {
    "Flux": "flux.core.handle",
    "AsyncFlux": "flux.core.aio",
    "FluxError": "flux.errors",
}
_SUBMODULES = (
    "abc",
    "constants",
    "core",
    "errors",
    "eventlog",
    "future",
    "hostlist",
    "idset",
    "job",
    "kvs",
    "message",
    "module",
    "pmi",
    "queue",
    "resource",
    "rpc",
    "taskmap",
    "testing",
    "util",
)

__all__ = ["AsyncFlux", "Flux", "FluxError"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY and name not in _SUBMODULES:
        raise AttributeError(f"module 'flux' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name) if name in _LAZY else import_module(f"flux.{name}")
