"""`flux post-job-event`: add an event to a job's eventlog (flux-post-job-event(1))."""

from __future__ import annotations

import json

from flux_cli.common import Parser, die, open_flux
from flux_cli.job_ids import parse_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def command(argv: list[str]) -> int:
    parser = Parser("post-job-event", "Add an event to the eventlog of an active job.")
    parser.add_argument("id", type=parse_id, metavar="JOBID")
    parser.add_argument("name", metavar="NAME", help="of the event; none that changes the job's state")
    parser.add_argument("context", nargs="*", metavar="KEY=VALUE", help="context of the event")
    args = parser.parse_args(argv)
    request = {"id": int(args.id), "name": args.name}
    context = _context(args.context)
    if context:
        request["context"] = context
    with open_flux() as handle:
        try:
            handle.rpc("job-manager.post-event.post", request).get()
        except FileNotFoundError:
            die(f"No such job {args.id.orig}")
    return 0


def _context(words: list[str]) -> dict[str, Any]:
    """{"a": {"b": 1}} of "a.b=1"; a value that is no JSON stands for its text, a key without one for 1."""
    context: dict[str, Any] = {}
    for word in words:
        path, sep, text = word.partition("=")
        *parents, last = path.split(".")
        table = context
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                die(f"{word}: {parent} has a value already")
        table[last] = _value(text) if sep else 1
    return context


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
