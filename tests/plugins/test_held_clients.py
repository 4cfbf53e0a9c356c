"""What a client may have a broker remember of the clients behind it (local.hold)."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

import flux
from flux.core.stream import MAX_BEHIND, MAX_WAY
from flux.errors import FluxError
from flux.testing import Instance, wait_for

MINIMAL = f"--plugins={Path(__file__).parent.parent / 'kernel' / 'kernel.toml'}"


def hold(handle: flux.Flux, client: str, held: bool = True) -> None:
    handle.rpc("local.hold", {"client": client, "hold": held}).get()


def refusal(handle: flux.Flux, client: str) -> int | None:
    with pytest.raises(FluxError) as caught:
        hold(handle, client)
    return caught.value.errno


def held(handle: flux.Flux) -> int:
    count: int = handle.rpc("local.stats-get").get()["held"]
    return count


def test_a_connection_has_so_many_held_at_a_time() -> None:
    with Instance(size=1, args=[MINIMAL]) as running:
        with flux.Flux(running.uri) as one, flux.Flux(running.uri) as other:
            for number in range(MAX_BEHIND):
                hold(one, str(number))
            hold(one, "0")  # again, which is no other
            assert refusal(one, "another") == errno.ENOBUFS
            hold(other, "another")
            hold(one, "0", held=False)
            hold(one, "another")
            assert held(one) == MAX_BEHIND + 1
            assert refusal(other, "x" * (MAX_WAY + 1)) == errno.EINVAL
        with flux.Flux(running.uri) as later:
            wait_for(lambda: held(later) == 0, what="the end of the connections noticed")
