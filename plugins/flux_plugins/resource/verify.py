"""Whether ranks have what the configuration says of them ([resource] verify and noverify, flux-config-resource(5))."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

from flux.errors import FluxError
from flux.idset import IDset
from flux.resource.Rlist import Rlist

__all__ = ["MODES", "discrepancies", "read_verify"]

MODES = ("strict", "allow-extra", "allow-missing", "ignore")
_TYPES = ("hostname", "core", "gpu")
_UNSET = {"hostname": "strict", "core": "allow-extra", "gpu": "ignore"}


def read_verify(table: Mapping[str, Any], is_job: bool) -> dict[str, str]:
    """The mode of each type of resource; by default fewer cores and other hosts are wrong, and nothing in a job.

    FluxError EINVAL names what is wrong in the table.
    """
    verify = table.get("verify")
    if table.get("noverify") or verify is False or (verify is None and is_job):
        return dict.fromkeys(_TYPES, "ignore")
    if verify is None:
        return dict(_UNSET)
    if verify is True:
        return dict.fromkeys(_TYPES, "strict")
    if not isinstance(verify, Mapping):
        raise FluxError(errno.EINVAL, f"[resource] verify may be true, false or a table, not {verify!r}")
    for name, mode in verify.items():
        if name not in ("default", *_TYPES):
            raise FluxError(
                errno.EINVAL, f"[resource.verify] has no key {name!r}: it takes default, {', '.join(_TYPES)}"
            )
        if mode not in MODES:
            raise FluxError(errno.EINVAL, f"[resource.verify] {name} may be {', '.join(MODES)}, not {mode!r}")
    return {name: verify.get(name, verify.get("default", "strict")) for name in _TYPES}


def discrepancies(wanted: Rlist, found: Rlist, modes: Mapping[str, str]) -> dict[int, str]:
    """By rank of found, what differs from wanted and must not, in words for people."""
    hosts = dict(zip(sorted(wanted.ranks()), wanted.nodelist(), strict=True))
    result = {}
    for rank, host in zip(sorted(found.ranks()), found.nodelist(), strict=True):
        if rank in hosts:
            problems = _host(hosts[rank], host, modes["hostname"])
            for name in ("core", "gpu"):
                have, want = (part.children(rank).get(name, IDset()) for part in (found, wanted))
                problems += _ids(name, want, have, modes[name])
            if problems:
                result[rank] = ", ".join(problems)
    return result


def _host(wanted: str, found: str, mode: str) -> list[str]:
    return [f"hostname is {found}, not {wanted}"] if mode != "ignore" and wanted != found else []


def _ids(name: str, wanted: IDset, found: IDset, mode: str) -> list[str]:
    lacking, extra = wanted - found, found - wanted
    problems = []
    if lacking and mode in ("strict", "allow-extra"):
        problems.append(f"missing {name}[{lacking}]")
    if extra and mode in ("strict", "allow-missing"):
        problems.append(f"extra {name}[{extra}]")
    return problems
