"""Constraints of jobs may only name hosts that the instance has (RFC 31)."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

from flux.errors import FluxError
from flux.hostlist import Hostlist

__all__ = ["check_hosts", "instance_hosts"]


def instance_hosts(hostlist: str | None, conf: Mapping[str, Any]) -> frozenset[str]:
    """The hosts of an instance: those of its attribute `hostlist`. None when resources may be on others."""
    resource = conf.get("resource") or {}
    if "fake-resources" in conf or resource.get("noverify"):
        return frozenset()
    return frozenset(Hostlist(hostlist or ""))


def check_hosts(jobspec: Mapping[str, Any], hosts: frozenset[str]) -> None:
    """Check the hosts that a jobspec names, which validators of the site alone may have seen.

    Args:
        hosts: those of the instance; none when they are not known, and any may be named.

    Raises:
        FluxError: EINVAL, naming those that the instance does not have.
    """
    constraint = _constraint(jobspec)
    if not constraint or not hosts:
        return
    from flux.resource.constraint import check_constraint, named_hosts

    try:
        check_constraint(constraint)
    except (ValueError, TypeError) as exc:
        raise FluxError(errno.EINVAL, f"constraints: {exc}") from None
    missing = Hostlist(dict.fromkeys(host for host in named_hosts(constraint) if host not in hosts))
    if missing:
        raise FluxError(errno.EINVAL, f"constraints: this instance has no host '{missing}'")


def _constraint(jobspec: Any) -> Any:
    found = jobspec
    for key in ("attributes", "system", "constraints"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found
