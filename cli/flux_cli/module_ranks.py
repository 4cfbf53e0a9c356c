"""`flux module load|remove|reload --rank`: the same request to several brokers, and one outcome for each."""

from __future__ import annotations

from collections.abc import Callable

from flux.errors import FluxError
from flux_cli.common import Parser
from flux_cli.ranks import ranks_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["add_rank_option", "each_rank", "load_on", "on_ranks"]


def add_rank_option(parser: Parser) -> None:
    parser.add_argument("-r", "--rank", metavar="IDSET", help='brokers to do it on, or "all"; default: this one')


def on_ranks(handle: Any, ranks: list[int], topic: str, payload: dict[str, Any], done: str) -> list[int]:
    """Send a request to each of the ranks at once, print each outcome; gives the ranks where it failed."""
    calls = [(rank, handle.rpc(topic, payload, nodeid=rank)) for rank in ranks]
    failed = []
    for rank, call in calls:
        try:
            call.get()
            print(f"{rank}: {done}")
        except FluxError as exc:
            failed.append(rank)
            print(f"{rank}: {exc}")
    return failed


def each_rank(
    handle: Any, ranks: str | None, topic: str, payload: dict[str, Any] | None, show: Callable[[Any], None]
) -> int:
    """Send a request to the ranks an idset names and show each answer after "RANK: "; without ranks, to this one."""
    if ranks is None:
        show(handle.rpc(topic, payload).get())
        return 0
    calls = [(rank, handle.rpc(topic, payload, nodeid=rank)) for rank in ranks_of(handle, ranks)]
    failed = False
    for rank, call in calls:
        print(f"{rank}: ", end="")
        try:
            show(call.get() or {})
        except FluxError as exc:
            failed = True
            print(exc)
    return int(failed)


def load_on(handle: Any, ranks: list[int], payload: dict[str, Any], atomic: bool) -> int:
    """Load on each of the ranks; atomic: if that fails on one, remove it again from the others."""
    before = {rank: _names(handle, rank) for rank in ranks} if atomic else {}
    failed = on_ranks(handle, ranks, "module.load", payload, "loaded")
    if atomic and failed:
        for rank in ranks:
            if rank not in failed:
                for name in _names(handle, rank, payload) - before[rank]:
                    on_ranks(handle, [rank], "module.remove", {"name": name}, "removed again")
    return 1 if failed else 0


def _names(handle: Any, rank: int, loaded: dict[str, Any] | None = None) -> set[str]:
    """The modules of a rank; with a load request, those that may have come from it."""
    modules = handle.rpc("module.list", nodeid=rank).get()["mods"]
    if loaded is not None and "name" in loaded:
        modules = [module for module in modules if module["name"] == loaded["name"]]
    return {module["name"] for module in modules}
