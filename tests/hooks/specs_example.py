"""Hook specifications of a host that exists only in tests."""

from __future__ import annotations

from typing import Any

import pluggy

from flux.hooks.host import ErrorPolicy, hook_policy

hookspec = pluggy.HookspecMarker("flux.example")
hookimpl = pluggy.HookimplMarker("flux.example")


@hookspec
def on_greet(who: str, volume: int) -> Any:
    """Errors are counted and passed over."""


@hookspec
@hook_policy(ErrorPolicy.REFUSE)
def on_admit(who: str) -> Any:
    """Errors refuse the request."""


@hookspec(firstresult=True)
def on_choose(options: list[str]) -> Any:
    """The first answer counts."""


@hookspec
async def on_wait(who: str) -> Any:
    """May be awaited."""
