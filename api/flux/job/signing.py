"""Signing (RFC 39): which mechanisms an instance wants, by its table `[sign]`, how a user signs, and who did."""

from __future__ import annotations

import errno
import time
from collections.abc import Mapping
from typing import Any

from flux.errors import FluxError
from flux.job.signed import Signed
from flux.job.submit import envelope

__all__ = ["TYPES", "sign", "verify"]

TYPES = ("munge", "curve")
_MAX_TTL = 1209600  # seconds: how long flux-security lets a signature live
_MAX_SKEW = 300  # seconds that MUNGE lets clocks differ


def sign(payload: bytes, userid: int, table: Mapping[str, Any]) -> str:
    """A jobspec or a request in an envelope that this process's user has signed.

    Errors: those of `flux.job.munge.sign` or `flux.job.curve.sign`; EINVAL for a wrong `sign.default-type`.
    """
    if _default_type(table) == "munge":
        from flux.job import munge

        text = envelope(payload, userid, b"munge")
        signature = munge.sign(text, (table.get("munge") or {}).get("socket-path", ""))
    else:
        from flux.job import curve

        text = envelope(payload, userid, b"curve", b"curve.time\0i%d\0" % int(time.time()))
        signature = curve.sign(text)
    return f"{text.decode()}.{signature}"


def verify(signed: Signed, table: Mapping[str, Any]) -> None:
    """Check that the user whom it names signed it, not too long ago.

    Raises:
        FluxError: EPERM when it was somebody else, when it is too old, from the future or of a type that is not
            allowed; ENOTSUP without what the type takes; EINVAL for a wrong table; see `flux.job.munge.verify`,
            `flux.job.curve.verify`.
    """
    if signed.mechanism not in _allowed_types(table):
        text = f"signatures of type {signed.mechanism} are not allowed here: sign.allowed-types"
        raise FluxError(errno.EPERM, text)
    made = _VERIFY[signed.mechanism](signed, table)
    age = time.time() - made
    if age > _max_ttl(table):
        raise FluxError(errno.EPERM, "the signature is older than sign.max-ttl allows")
    if age < -_MAX_SKEW:
        raise FluxError(errno.EPERM, f"the signature is made {-age:.0f} s from now: the clock of its host is wrong")


def _verify_munge(signed: Signed, table: Mapping[str, Any]) -> int:
    """When it was signed, as MUNGE has it."""
    from flux.job.munge import verify

    found = verify(signed.signed, signed.signature, (table.get("munge") or {}).get("socket-path", ""))
    if found.userid != signed.userid:
        raise FluxError(errno.EPERM, f"munge userid={found.userid} != signer={signed.userid}")
    return found.time


def _verify_curve(signed: Signed, table: Mapping[str, Any]) -> int:
    """When it was signed, as the signer has it."""
    from flux.job.curve import PUBLIC, verify

    verify(signed.signed, signed.signature, signed.userid, (table.get("curve") or {}).get("public-key", PUBLIC))
    return signed.time


_VERIFY = {"munge": _verify_munge, "curve": _verify_curve}


def _allowed_types(table: Mapping[str, Any]) -> list[str]:
    """What the instance takes of guests: `sign.allowed-types`, else its default type alone. FluxError EINVAL."""
    allowed = table.get("allowed-types", [_default_type(table)])
    if not isinstance(allowed, list) or not set(allowed) <= set(TYPES):
        raise FluxError(errno.EINVAL, f"sign.allowed-types is an array of {', '.join(TYPES)}, not {allowed!r}")
    return allowed


def _max_ttl(table: Mapping[str, Any]) -> float:
    """Seconds. FluxError EINVAL."""
    from flux.util import parse_fsd

    try:
        return parse_fsd(str(table.get("max-ttl", _MAX_TTL)))
    except ValueError as exc:
        raise FluxError(errno.EINVAL, f"sign.max-ttl: {exc}") from None


def _default_type(table: Mapping[str, Any]) -> str:
    name = table.get("default-type", TYPES[0])
    if name not in TYPES:
        raise FluxError(errno.EINVAL, f"sign.default-type is one of {', '.join(TYPES)}, not {name!r}")
    return str(name)
