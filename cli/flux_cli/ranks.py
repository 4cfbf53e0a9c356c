"""The option --rank of commands that ask some of the brokers."""

from __future__ import annotations

from flux_cli.common import die

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["ranks_of"]


def ranks_of(handle: Any, text: str) -> list[int]:
    """The ranks that an idset names; "all" is every rank. CommandError when one of them is not in the instance."""
    from flux.idset import IDset

    size = int(handle.attr_get("size"))
    if text == "all":
        return list(range(size))
    try:
        ranks = list(IDset(text))
    except ValueError as exc:
        die(f"--rank: {exc}")
    outside = [rank for rank in ranks if rank >= size]
    if outside or not ranks:
        die(f"--rank {text}: the instance has ranks 0 to {size - 1}")
    return ranks
