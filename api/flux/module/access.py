"""What a configuration keeps from guests (`[access]`, flux-config-access(5))."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

from flux.errors import FluxError
from flux.message import ROLE_ADMIN, ROLE_OWNER, Message

__all__ = ["check_public", "is_private"]


def is_private(conf: Mapping[str, Any], msg: Message) -> bool:
    """True when the sender may see its own jobs only: a guest without the admin role, in `access.private-mode`."""
    private = (conf.get("access") or {}).get("private-mode")
    return bool(private) and not msg.rolemask & (ROLE_OWNER | ROLE_ADMIN)


def check_public(conf: Mapping[str, Any], msg: Message) -> None:
    """FluxError EPERM when what is asked for tells of the jobs of all users, and the sender may not see those."""
    if is_private(conf, msg):
        raise FluxError(errno.EPERM, "this instance is private: statistics are for its owner and for admins")
