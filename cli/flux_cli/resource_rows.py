"""Resources by state as rows of a table, for `flux resource` (flux-resource(1))."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from flux_cli.common import die, print_json
from flux_cli.formats import named_format

if TYPE_CHECKING:
    from flux.idset import IDset
    from flux.resource import ResourceSet

HEADINGS = {
    "state": "STATE",
    "status": "STATUS",
    "nnodes": "NNODES",
    "ncores": "NCORES",
    "ngpus": "NGPUS",
    "nodelist": "NODELIST",
    "ranks": "RANKS",
    "properties": "PROPERTIES",
    "propertiesx": "PROPERTIES",
    "rlist": "LIST",
    "queue": "QUEUE",
    "up": "UP",
    "reason": "REASON",
    "timestamp": "TIME",
    "time": "TIME",
}
"""What a format may name, and the column's heading."""

Row = SimpleNamespace


def select(resources: ResourceSet, args: Any, config: Mapping[str, Any]) -> ResourceSet:
    """Those of the targets (--include) and queues (--queue) asked for."""
    if args.include:
        resources = resources.copy_ranks(target_ranks(args.include, resources))
    if args.queue:
        wanted = (_of_queue(resources, name, config) for name in args.queue.split(","))
        chosen = next(wanted)
        for more in wanted:
            chosen |= more
        return chosen
    return resources


def target_ranks(text: str, resources: ResourceSet) -> IDset:
    """Ranks of an idset or a hostlist. CommandError when it is neither."""
    from flux.resource.list import target_ranks

    try:
        return target_ranks(text, resources)
    except ValueError as exc:
        die(f"{text} is neither ranks nor hosts: {exc}")


def _of_queue(resources: ResourceSet, name: str, config: Mapping[str, Any]) -> ResourceSet:
    queues = config.get("queues") or {}
    if name not in queues:
        die(f"there is no queue {name}{': ' + ', '.join(queues) + ' are there' if queues else ''}")
    requires = queues[name].get("requires") or []
    return resources.copy_constraint({"properties": requires}) if requires else resources


def row(state: str, resources: ResourceSet, config: Mapping[str, Any], **more: Any) -> Row:
    """A row of the table: a state and what is in it."""
    configured = config.get("queues") or {}
    queues = [name for name in configured if _of_queue(resources, name, config).nnodes]
    columns = {
        "state": state,
        "nnodes": resources.nnodes,
        "ncores": resources.ncores,
        "ngpus": resources.ngpus,
        "nodelist": str(resources.nodelist),
        "ranks": str(resources.ranks),
        "properties": resources.properties,
        "propertiesx": ",".join(name for name in resources.properties.split(",") if name not in configured),
        "rlist": str(resources),
        "queue": ",".join(queues),
    }
    return Row(**{**columns, "status": "", "up": "", "reason": "", "timestamp": 0.0, "time": "", **more})


def short_time(stamp: float) -> str:
    return time.strftime("%b%d %H:%M", time.localtime(stamp))


def chosen_states(text: str | None, known: Iterable[str], default: Iterable[str]) -> list[str]:
    """The states of --states in their order, or the default ones."""
    if text is None:
        return list(default)
    states = text.lower().split(",")
    wrong = [state for state in states if state not in known]
    if wrong:
        die(f"Invalid resource state {wrong[0]} specified; valid are {', '.join(known)}")
    return states


def show(rows: list[Row], args: Any, formats: Mapping[str, str]) -> int:
    """Print rows by --format, or as --json."""
    if getattr(args, "json", False):
        print_json([vars(row) for row in rows])
        return 0
    if args.format == "help":
        for name, text in formats.items():
            print(f"{name:<10} {text}")
        return 0
    _print(rows, named_format(args.format, formats), header=not args.no_header)
    return 0


def _print(rows: list[Row], text: str, header: bool) -> None:
    from flux.output_format import OutputFormat

    try:
        shown = OutputFormat(OutputFormat(text, HEADINGS).filter(rows, not header), HEADINGS)
    except ValueError as exc:
        die(str(exc))
    if header:
        print(shown.header().rstrip())
    for item in shown.sort_items(list(rows)):
        print(shown.format(item).rstrip())
