"""`flux module stats` shows the statistics of every module of the default composition (flux-module(1))."""

from __future__ import annotations

from collections.abc import Callable

from flux.testing import Instance


def test_every_module_tells_its_statistics(instance: Callable[..., Instance]) -> None:
    for rank in range(2):
        handle = instance(size=2).handle(rank)
        names = [module["name"] for module in handle.rpc("module.list").get()["mods"]]
        assert {"kvs", "overlay", "rexec"} <= set(names)
        asked = {name: handle.rpc(f"{name}.stats-get") for name in names}
        told = {name: answer.get() for name, answer in asked.items()}
        assert all(isinstance(stats, dict) and stats for stats in told.values()), told
