"""Hooks of the broker's life cycle: what is done when an instance starts, is cleaned up, and ends (flux-broker(1)).

    from flux.hooks.rc import hookimpl

    @hookimpl
    async def rc1(flux, rank, log):
        if rank == 0:
            await flux.rpc("site-db.open")
            log.info("the site's database is open")

An rc plugin is a `.py` file, a module or a class with such functions; each takes any subset of its hook's arguments,
and may be a plain function too, as long as it does not block. The composition names it, in the order of the calls:
`[modules.rc] args = { plugins = ["startlog", "job-cleanup", "/etc/flux/site.py"] }`.
All hooks since 0.1; hooks and arguments are added, never removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pluggy

from flux.hooks.host import ErrorPolicy, hook_policy

if TYPE_CHECKING:
    from flux.core.aio import AsyncFlux
    from flux.module.log import Logger

__all__ = ["hookimpl", "hookspec"]

hookspec = pluggy.HookspecMarker("flux.rc")
hookimpl = pluggy.HookimplMarker("flux.rc")

Attributes = Mapping[str, str]
"""Broker attributes, as strings (flux-broker-attributes(7))."""


@hookspec
@hook_policy(ErrorPolicy.FATAL)
async def rc1(flux: AsyncFlux, rank: int, size: int, attrs: Attributes, conf: Mapping[str, Any], log: Logger) -> None:
    """The services of this broker have started: make the rest ready. The instance goes on when this is done.

    Called on every rank, before the scripts of rc1.d; not when `broker.rc1_path` is set.

    Args:
        flux: asynchronous handle on this broker.
        rank: of this broker. size: number of brokers.
        attrs: attributes of this broker that have a value. conf: the configuration.
        log: log of this broker.
    """


@hookspec
@hook_policy(ErrorPolicy.LOG)
async def cleanup(
    flux: AsyncFlux, rank: int, size: int, attrs: Attributes, conf: Mapping[str, Any], log: Logger
) -> None:
    """The initial program has ended: take back what was begun while all brokers and services are still there.

    Called on rank 0, after the commands that were pushed for it. An error makes the exit code 1 if it was 0;
    `broker.cleanup-timeout` ends it.

    Args:
        flux: asynchronous handle on this broker.
        rank: of this broker. size: number of brokers.
        attrs: attributes of this broker that have a value. conf: the configuration.
        log: log of this broker.
    """


@hookspec
@hook_policy(ErrorPolicy.LOG)
async def rc3(flux: AsyncFlux, rank: int, size: int, attrs: Attributes, conf: Mapping[str, Any], log: Logger) -> None:
    """The services of this broker are about to stop; the brokers below it have stopped already.

    Called on every rank, after the scripts of rc3.d; not when `broker.rc3_path` is set. An error makes the exit
    code 1 if it was 0.

    Args:
        flux: asynchronous handle on this broker.
        rank: of this broker. size: number of brokers.
        attrs: attributes of this broker that have a value. conf: the configuration.
        log: log of this broker.
    """
