"""What two neighbours in the ring say to each other; each is the first frame of a ZeroMQ message. Pure.

HELLO comes with the rank of who connects and is answered with WELCOME; a PACKET is answered with GOT, how many have
come so far, at once, and with ENDED, how many of the first have reached their target, when that is so.
"""

from __future__ import annotations

__all__ = ["ENDED", "GOT", "HELLO", "PACKET", "WELCOME", "number", "number_frame"]

HELLO, WELCOME, PACKET, GOT, ENDED = b"hello", b"welcome", b"packet", b"got", b"ended"


def number_frame(value: int) -> bytes:
    return b"%d" % value


def number(frames: list[bytes]) -> int:
    """The number in a HELLO, GOT or ENDED; -1 when there is none."""
    return int(frames[1]) if len(frames) == 2 and frames[1].isdigit() else -1
