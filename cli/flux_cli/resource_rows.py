"""Resources by state as rows of a table, for `flux resource` (flux-resource(1))."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from types import SimpleNamespace

from flux_cli.common import die, print_json
from flux_cli.formats import format_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.idset import IDset
    from flux.output_format import OutputFormat
    from flux.resource import ResourceSet

HEADINGS = {
    "state": "STATE",
    "statex": "STATE",
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
    "up.ascii": "UP",
    "color_up": "",
    "color_off": "",
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


def row(state: str, resources: ResourceSet, config: Mapping[str, Any], queues: Collection[str], **more: Any) -> Row:
    """A row of the table: a state and what is in it.

    Args:
        queues: names of those that are told of.
    """
    configured = config.get("queues") or {}
    properties = list(resources.get_properties())
    columns = {
        "state": state,
        "statex": state,
        "nnodes": resources.nnodes,
        "ncores": resources.ncores,
        "ngpus": resources.ngpus,
        "nodelist": str(resources.nodelist),
        "ranks": str(resources.ranks),
        "properties": ",".join(properties),
        "propertiesx": ",".join(name for name in properties if name not in configured),
        "rlist": str(resources),
        "queue": ",".join(name for name in queues if _of_queue(resources, name, config).nnodes),
    }
    absent = {"status": "", "up": "", "color_up": "", "color_off": "", "reason": "", "timestamp": 0.0, "time": ""}
    return Row(**{**columns, **absent, **more})


# -- rows of what differs in nothing that is shown


def list_rows(
    sets: Mapping[str, ResourceSet], fields: Collection[str], config: Mapping[str, Any], queues: Collection[str]
) -> list[Row]:
    """Rows of `flux resource list`: nodes apart that differ in a shown state, property or queue.

    Args:
        sets: resources by state, in the order of the rows. fields: that are shown.
        queues: names of those that are told of.
    """
    telling = [name for name in ("state", "properties", "propertiesx", "queue") if name in fields]
    if telling != ["state"] and len(fields) == 1:
        telling = []
    joined: dict[tuple[str, ...], tuple[str, ResourceSet, dict[str, str]]] = {}
    for state, part, more in _parts(sets, config, queues if "queue" in telling else ()):
        key = tuple(getattr(row(state, part, config, queues, **more), name) for name in telling)
        first, resources, more = joined.get(key, (state, None, more))
        joined[key] = first, part if resources is None else resources | part, more
    return [row(state, resources, config, queues, **more) for state, resources, more in joined.values()]


def _parts(
    sets: Mapping[str, ResourceSet], config: Mapping[str, Any], queues: Collection[str]
) -> Iterator[tuple[str, ResourceSet, dict[str, str]]]:
    """State, nodes that have the same properties, and what is to be said of a state that nothing is in."""
    for state, resources in sets.items():
        if resources.nnodes:
            for ranks in _alike(resources):
                yield state, resources.copy_ranks(ranks), {}
        else:
            for queue in queues or [""]:
                yield state, resources, {"queue": queue}


def _alike(resources: ResourceSet) -> list[IDset]:
    """The ranks, those apart that differ in their properties; by first rank."""
    from flux.idset import IDset

    properties = resources.get_properties()
    groups: dict[tuple[str, ...], list[int]] = {}
    for rank in resources.ranks:
        groups.setdefault(tuple(name for name, ranks in properties.items() if rank in ranks), []).append(rank)
    return [IDset(ranks) for ranks in groups.values()]


def joined_rows(rows: Iterable[Row], fields: Collection[str]) -> list[Row]:
    """Rows of `flux resource status`: one for those that differ in nothing but nodes, of what is shown."""
    from flux.hostlist import Hostlist
    from flux.idset import IDset

    telling = [name.partition(".")[0] for name in fields if name not in ("nnodes", "ranks", "nodelist")]
    joined: dict[tuple[Any, ...], Row] = {}
    for item in rows:
        first = joined.setdefault(tuple(getattr(item, name) for name in telling), item)
        if first is not item and item.nnodes:
            hosts = Hostlist(first.nodelist)
            hosts.append(item.nodelist)
            first.nnodes += item.nnodes
            first.ranks = str(IDset(first.ranks) | IDset(item.ranks))
            first.nodelist = str(hosts)
    return list(joined.values())


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


def table(args: Any, formats: Mapping[str, tuple[str, str]], subcommand: str) -> OutputFormat | None:
    """The table that --format asks for; None when it asked for help, which was printed, or --json for none."""
    from flux.output_format import OutputFormat

    text = format_text(args.format, formats, "flux-resource", table=subcommand)
    try:
        return None if text is None else OutputFormat(text, HEADINGS)
    except ValueError as exc:
        die(str(exc))


def show(rows: list[Row], table: OutputFormat, args: Any) -> int:
    """Print rows; gives the exit code."""
    from flux.output_format import OutputFormat

    shown = OutputFormat(table.filter(rows, args.no_header), HEADINGS)
    if not args.no_header:
        print(shown.header().rstrip())
    for item in shown.sort_items(list(rows)):
        print(shown.format(item).rstrip())
    return 0


def show_json(rows: list[Row]) -> int:
    """Print rows as --json has them; gives the exit code."""
    hidden = ("statex", "color_up", "color_off")
    print_json([{name: value for name, value in vars(row).items() if name not in hidden} for row in rows])
    return 0
