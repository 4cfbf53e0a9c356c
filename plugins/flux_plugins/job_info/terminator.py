"""When an eventlog is complete, so that its watch can end (RFC 41). Pure.

The output of a job is complete at the end of the guest namespace, and not before: shells may log something after the
last of its streams has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

__all__ = ["terminator"]

Terminator = Callable[[bytes], bool]
"""Fed each line in order; True when it was the last."""

_decode_json = msgspec.json.Decoder().decode


def terminator(path: str) -> Terminator:
    """The terminator of an eventlog by its path in the job's directory."""
    if path == "eventlog":
        return _ends_with("clean")
    if path == "guest.exec.eventlog":
        return _ends_with("done")
    if path == "guest.input":
        return _input_ends
    return lambda line: False


def _ends_with(name: str) -> Terminator:
    quoted = f'"{name}"'.encode()
    return lambda line: quoted in line and _decode_json(line)["name"] == name


def _input_ends(line: bytes) -> bool:
    return b'"eof"' in line and _context(line).get("eof") is True


def _context(line: bytes) -> dict[str, Any]:
    return _decode_json(line).get("context") or {}
