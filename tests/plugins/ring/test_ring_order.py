"""The pure parts of the ring: who comes next, what is sent again, and that nothing arrives twice."""

from __future__ import annotations

import pytest

from flux.errors import ProtocolError
from flux.message import REQUEST, Message
from flux_plugins.ring.circle import Circle, Member, Seen
from flux_plugins.ring.outbox import Outbox, Receipts
from flux_plugins.ring.packet import LOST, Packet, decode_message, decode_packet, encode_packet


def circle(rank: int, *ranks: int) -> Circle:
    found = Circle(rank)
    found.members = {r: Member(r, f"ipc://{r}", "key", "epoch") for r in ranks}
    return found


def test_the_ring_goes_up_and_begins_again() -> None:
    assert [member.rank for member in circle(2, 0, 1, 2, 3, 5).after()] == [3, 5, 0, 1]
    assert circle(2, 0, 1, 2, 3, 5).between(0) == [3, 5]
    assert circle(2, 0, 1, 2, 3, 5).between(3) == []
    assert circle(2, 0, 1, 2).between(2) == [0, 1]
    assert circle(0, 0).after() == []


def test_what_has_not_arrived_goes_to_the_one_after() -> None:
    outbox, ended = Outbox(), []
    for n in range(4):
        outbox.add([b"%d" % n], lambda n=n: ended.append(n))  # type: ignore[misc]
    outbox.ended(2)
    assert ended == [0, 1]
    assert outbox.begin() == [[b"2"], [b"3"]]
    outbox.ended(1)
    assert ended == [0, 1, 2]
    outbox.ended(1)
    assert ended == [0, 1, 2] and len(outbox) == 1
    assert [frames for frames, _ in outbox.take_all()] == [[b"3"]] and len(outbox) == 0


def test_receipts_count_the_first_ones_that_are_at_their_end() -> None:
    counts: list[int] = []
    receipts = Receipts(lambda receipts: counts.append(receipts.ended))
    first, second, third = (receipts.receive() for _ in range(3))
    second()
    assert counts == []
    first()
    third()
    assert counts == [2, 3] and receipts.received == 3


def test_a_packet_is_new_once() -> None:
    seen = Seen()
    assert [seen.is_new(1, "a", n) for n in (1, 2, 2, 1, 5, 3)] == [True, True, False, False, True, False]
    assert seen.is_new(2, "a", 1)
    seen.forget(1)
    assert seen.is_new(1, "a", 1) and not seen.is_new(2, "a", 1)


def test_packets_survive_the_wire() -> None:
    packet = Packet("request", 1, 3, "epoch", 7, 2, "client")
    found, frames = decode_packet(encode_packet(packet, Message(REQUEST, "a.b", {"x": 1}, aux=3, routes=["gone"])))
    assert found == packet
    msg = decode_message(frames)
    assert (msg.topic, msg.payload, msg.aux, msg.routes) == ("a.b", {"x": 1}, 3, [])
    lost = Packet(LOST, 1, 1, "epoch", 8, ranks=[2, 3])
    assert decode_packet(encode_packet(lost, None)) == (lost, [])


@pytest.mark.parametrize("frames", [[], [b""], [b"junk"], [b"\x93\x01\x02\x03"]])
def test_junk_is_refused(frames: list[bytes]) -> None:
    with pytest.raises(ProtocolError, match="malformed packet"):
        decode_packet(frames)
