"""How a broker introduces itself to its parent: payloads and checks of `overlay.hello`. Pure.

Brokers of one instance must be of the same release, MAJOR.MINOR; a different patch level is accepted.
"""

from __future__ import annotations

import errno

import msgspec

from flux.errors import FluxError
from flux.message import ROLE_OWNER, Message

__all__ = [
    "GOODBYE",
    "HELLO",
    "NEWCOMER",
    "Goodbye",
    "HelloRequest",
    "HelloResponse",
    "check_hello",
    "pack_version",
    "version_text",
]

HELLO = "overlay.hello"
GOODBYE = "overlay.goodbye"
NEWCOMER = -1


class HelloRequest(msgspec.Struct, omit_defaults=True):
    """Child to parent.

    Attributes:
        rank: of the child. uuid: its route id.
        version: MAJOR << 16 | MINOR << 8 | PATCH.
        status: number of the subtree status. hostname: where it runs; "" is not checked.
        sequence: of the newest event it has got, those after it are sent to it; NEWCOMER for a broker that
            starts. None from one that has no notion of this.
    """

    rank: int
    version: int
    uuid: str
    status: int
    hostname: str = ""
    sequence: int | None = None


class HelloResponse(msgspec.Struct, omit_defaults=True):
    """Parent to child.

    Attributes:
        uuid: route id of the parent.
        hostlist: RFC 29 list of the instance's hosts by rank; "" from a parent that does not tell.
        sequence: of the newest event of the parent; 0 from one that does not tell.
    """

    uuid: str
    hostlist: str = ""
    sequence: int = 0


class Goodbye(msgspec.Struct, omit_defaults=True):
    """Child to parent.

    Attributes:
        moving: the child and all ranks behind it live on, under another parent.
    """

    moving: bool = False


def pack_version(text: str) -> int:
    """ "0.88.0" to a number; a suffix after the patch level is left out. FluxError EINVAL when it is no version."""
    fields = text.split("-")[0].split("+")[0].split(".")
    try:
        major, minor, patch = (int(field) for field in (*fields, "0")[:3])
    except ValueError:
        raise FluxError(errno.EINVAL, f"version {text!r} is not MAJOR.MINOR.PATCH") from None
    return major << 16 | minor << 8 | patch


def version_text(version: int) -> str:
    return f"{version >> 16}.{version >> 8 & 0xFF}.{version & 0xFF}"


def check_hello(msg: Message, hello: HelloRequest, expected_host: str | None, version: int) -> None:
    """Refuse a child that cannot be ours.

    Args:
        expected_host: host of that rank; None when the rank is no child of this broker, "" when not known.
        version: our own, packed.

    Raises:
        FluxError: EPERM or EINVAL, with the text that the child shows.
    """
    if not msg.rolemask & ROLE_OWNER:
        raise FluxError(errno.EPERM, "Request requires owner credentials")
    if expected_host is None:
        raise FluxError(errno.EINVAL, f"rank {hello.rank} is not a child of this broker: mismatched config?")
    if hello.hostname and expected_host and hello.hostname != expected_host:
        text = f"rank {hello.rank} runs on {hello.hostname}, expected {expected_host}: mismatched config?"
        raise FluxError(errno.EINVAL, text)
    if hello.version >> 8 != version >> 8:
        text = f"client ({version_text(hello.version)}) version mismatched with server ({version_text(version)})"
        raise FluxError(errno.EINVAL, text)
