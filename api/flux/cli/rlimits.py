"""--rlimit and --signal: resource limits and warnings that a job starts with (flux-submit(1))."""

from __future__ import annotations

import resource
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["limits", "signal_option"]

_USUAL = ("cpu", "fsize", "data", "stack", "core", "nofile", "as", "rss", "nproc")
_UNLIMITED = ("unlimited", "infinity", "inf")
_WARNING_TIME = "60s"


def limits(rules: tuple[str, ...]) -> dict[str, int]:
    """Soft limits of this process that the job is to have, -1 for none, as rules say.

    Args:
        rules: "-PATTERN" (leave out), "NAME=VALUE" or "PATTERN" (take the limit as it is here), each perhaps several,
            separated by commas, applied in order to the usual ones.

    Raises:
        ValueError: there is no such limit, or a value is no number.
    """
    chosen = {name: _current(name) for name in _USUAL}
    for rule in ",".join(rules).split(","):
        if rule:
            _apply(rule.strip().lower(), chosen)
    return chosen


def _apply(rule: str, chosen: dict[str, int]) -> None:
    name, equals, text = rule.partition("=")
    if equals:
        chosen[_matching(rule, name)[0]] = _number(rule, text)
    elif rule.startswith("-"):
        for name in _matching(rule, rule[1:]):
            chosen.pop(name, None)
    else:
        chosen |= {name: _current(name) for name in _matching(rule, rule)}


def _matching(rule: str, pattern: str) -> list[str]:
    from fnmatch import filter as matching

    names = [name.removeprefix("RLIMIT_").lower() for name in dir(resource) if name.startswith("RLIMIT_")]
    found = matching(names, pattern)
    if not found:
        raise ValueError(f"--rlimit={rule}: no limit is called '{pattern}': {', '.join(names)}")
    return found


def _number(rule: str, text: str) -> int:
    if text in _UNLIMITED:
        return -1
    if not text.isdecimal():
        raise ValueError(f"--rlimit={rule}: '{text}' is neither a number nor unlimited")
    return int(text)


def _current(name: str) -> int:
    soft = resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))[0]
    return -1 if soft == resource.RLIM_INFINITY else soft


def signal_option(text: str) -> dict[str, Any]:
    """[SIG][@TIME] as the shell option `signal`."""
    from flux.util import parse_fsd

    name, _, time = text.partition("@")
    try:
        seconds = parse_fsd(time or _WARNING_TIME)
    except ValueError as exc:
        raise ValueError(f"--signal={text}: {exc}") from None
    return {"signum": _signum(text, name or "USR1"), "timeleft": seconds}


def _signum(text: str, name: str) -> int:
    if name.isdecimal() and 0 < int(name) < signal.NSIG:
        return int(name)
    try:
        return int(signal.Signals[f"SIG{name.upper().removeprefix('SIG')}"])
    except KeyError:
        raise ValueError(f"--signal={text}: signal '{name}' is invalid") from None
