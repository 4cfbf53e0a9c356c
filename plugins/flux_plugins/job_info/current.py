"""R and jobspec as they are now: what was stored, with the updates of the eventlog applied (RFC 21). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

__all__ = ["UPDATE_EVENTS", "apply_updates", "events_of", "userid_of"]

UPDATE_EVENTS = {"R": "resource-update", "jobspec": "jobspec-update"}
_decode_json = msgspec.json.Decoder().decode


def events_of(eventlog: bytes) -> Iterator[dict[str, Any]]:
    """The entries of an eventlog. ValueError when a line is no JSON."""
    return (_decode_json(line) for line in eventlog.split(b"\n") if line)


def userid_of(eventlog: bytes) -> int:
    """The job's owner, from its submit event. ValueError or KeyError when it has none."""
    userid: int = _decode_json(eventlog.partition(b"\n")[0])["context"]["userid"]
    return userid


def apply_updates(key: str, obj: dict[str, Any], events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The object at `key` ("R" or "jobspec") after the updates among events; the original is not changed."""
    for event in events:
        if event["name"] == UPDATE_EVENTS[key]:
            context = event["context"]
            obj = _updated_R(obj, context) if key == "R" else _updated_jobspec(obj, context)
    return obj


def _updated_R(R: dict[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    return {**R, "execution": {**R["execution"], "expiration": context["expiration"]}}


def _updated_jobspec(jobspec: dict[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(jobspec)
    for path, value in context.items():
        *parents, last = path.split(".")
        node = result
        for part in parents:
            child = node.get(part)
            copy = dict(child) if isinstance(child, Mapping) else {}
            node[part] = copy
            node = copy
        node[last] = value
    return result
