"""What a broker and a module in a process of its own tell each other of its life (RFC 5)."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["EXITED", "FINALIZING", "RUNNING", "WelcomeRequest"]

RUNNING, FINALIZING, EXITED = 1, 2, 3
"""`status` of module.status."""


class WelcomeRequest(msgspec.Struct):
    """Payload of the welcome request."""

    name: str
    uuid: str
    args: list[str]
    attrs: dict[str, str]
    conf: dict[str, Any]
