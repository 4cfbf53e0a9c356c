"""Who may connect, and with which roles: the `[access]` table of the configuration (flux-config-access(5))."""

from __future__ import annotations

import errno
import grp
import os
import pwd
from collections.abc import Callable
from typing import Any

import msgspec

from flux.errors import FluxError
from flux.message import ROLE_ADMIN, ROLE_LOCAL, ROLE_OWNER, ROLE_USER

__all__ = ["AccessPolicy", "Members"]


class Members(msgspec.Struct, forbid_unknown_fields=True):
    """Who has a role, by name; what is no user or group of this host is passed over."""

    users: list[str] = []
    groups: list[str] = []

    def contain(self, uid: int, complain: Callable[[str], None]) -> bool:
        """True when the user is named, or belongs to a group that is; complain gets what could not be looked up."""
        named = [_lookup(pwd.getpwnam, f"user {name}", complain) for name in self.users]
        if any(entry is not None and entry.pw_uid == uid for entry in named):
            return True
        groups = [_lookup(grp.getgrnam, f"group {name}", complain) for name in self.groups]
        wanted = {entry.gr_gid for entry in groups if entry is not None}
        return bool(wanted) and not wanted.isdisjoint(_groups_of(uid))


class Roles(msgspec.Struct, forbid_unknown_fields=True):
    admin: Members = msgspec.field(default_factory=Members)


class AccessPolicy(msgspec.Struct, rename="kebab", forbid_unknown_fields=True):
    """The table as the local connector needs it. private_mode is the business of the services that show jobs."""

    allow_guest_user: bool = False
    allow_root_owner: bool = False
    private_mode: bool = False
    roles: Roles = msgspec.field(default_factory=Roles)

    @classmethod
    def of(cls, conf: dict[str, Any]) -> AccessPolicy:
        """The policy of a configuration. FluxError EINVAL names the key that does not fit."""
        try:
            return msgspec.convert(conf.get("access", {}), cls)
        except msgspec.ValidationError as exc:
            raise FluxError(errno.EINVAL, f"configuration table [access]: {exc}") from None

    def roles_of(self, uid: int, complain: Callable[[str], None]) -> int:
        """The role mask (RFC 12) of a user of this host; 0 when it may not connect."""
        if uid == os.getuid() or (uid == 0 and self.allow_root_owner):
            return ROLE_OWNER | ROLE_LOCAL
        if not self.allow_guest_user:
            return 0
        admin = ROLE_ADMIN if self.roles.admin.contain(uid, complain) else 0
        return ROLE_USER | admin | ROLE_LOCAL


def _lookup(find: Callable[[str], Any], what: str, complain: Callable[[str], None]) -> Any:
    try:
        return find(what.partition(" ")[2])
    except (KeyError, OSError):
        complain(f"configuration table [access.roles.admin]: this host has no {what}")
        return None


def _groups_of(uid: int) -> list[int]:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return []
    return os.getgrouplist(entry.pw_name, entry.pw_gid)
