"""Signed jobspecs (RFC 39): which mechanisms an instance wants, by its table `[sign]`, and how a guest signs."""

from __future__ import annotations

import errno
import time
from collections.abc import Mapping
from typing import Any

from flux.errors import FluxError
from flux.job.submit import envelope

__all__ = ["TYPES", "allowed_types", "sign"]

TYPES = ("munge", "curve")


def allowed_types(table: Mapping[str, Any]) -> list[str]:
    """What the instance takes of guests: `sign.allowed-types`, else its default type alone. FluxError EINVAL."""
    allowed = table.get("allowed-types", [_default_type(table)])
    if not isinstance(allowed, list) or not set(allowed) <= set(TYPES):
        raise FluxError(errno.EINVAL, f"sign.allowed-types is an array of {', '.join(TYPES)}, not {allowed!r}")
    return allowed


def _default_type(table: Mapping[str, Any]) -> str:
    name = table.get("default-type", TYPES[0])
    if name not in TYPES:
        raise FluxError(errno.EINVAL, f"sign.default-type is one of {', '.join(TYPES)}, not {name!r}")
    return str(name)


def sign(jobspec: bytes, userid: int, table: Mapping[str, Any]) -> str:
    """A jobspec in an envelope that this process's user has signed.

    Errors: those of `flux.job.munge.sign` or `flux.job.curve.sign`; EINVAL for a wrong `sign.default-type`.
    """
    if _default_type(table) == "munge":
        from flux.job import munge

        text = envelope(jobspec, userid, b"munge")
        signature = munge.sign(text, (table.get("munge") or {}).get("socket-path", ""))
    else:
        from flux.job import curve

        text = envelope(jobspec, userid, b"curve", b"curve.time\0i%d\0" % int(time.time()))
        signature = curve.sign(text)
    return f"{text.decode()}.{signature}"
