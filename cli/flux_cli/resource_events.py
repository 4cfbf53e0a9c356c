"""Which events `flux resource eventlog` shows, and which it waits for (flux-resource(1))."""

from __future__ import annotations

import json

from flux_cli.common import die

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.idset import IDset

__all__ = ["concerns", "matches", "parse_match"]

_TOLERANCE = 1e-5


def parse_match(texts: list[str]) -> dict[str, Any]:
    """["KEY=VAL"] to a table; a value that is no JSON is text. CommandError for one without "="."""
    table: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            die(f"--match-context: expected KEY=VAL, got '{text}'")
        try:
            table[key] = json.loads(value)
        except ValueError:
            table[key] = value
    return table


def matches(event: dict[str, Any], name: str, wanted: dict[str, Any]) -> bool:
    """Whether an event has this name, and all that is wanted in its context."""
    context = event.get("context") or {}
    return event["name"] == name and all(_same(context.get(key), value) for key, value in wanted.items())


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(found, float) and isinstance(wanted, int | float):
        return abs(found - wanted) <= _TOLERANCE
    return bool(found == wanted) or (isinstance(found, str) and found == str(wanted))


def concerns(event: dict[str, Any], ranks: IDset) -> bool:
    """Whether an event is about some of these ranks; one that names none is about all."""
    from flux.idset import IDset

    context = event.get("context") or {}
    named = context.get("idset", context.get("ranks"))
    return named is None or bool(IDset(named) & ranks)
