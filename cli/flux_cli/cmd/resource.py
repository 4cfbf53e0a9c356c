"""`flux resource`: what the instance has, what of it is up, draining nodes (flux-resource(1))."""

from __future__ import annotations

import argparse
import errno
import itertools
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from flux_cli.common import Action, Parser, die, dispatch, open_flux, parse_duration, warn

if TYPE_CHECKING:
    from flux.idset import IDset

_LIST = "{state:>10} ?+:{queue:<5} ?:{propertiesx:<10.10+} {nnodes:>6} +:{ncores:>6} ?+:{ngpus:>5} "
LIST_FORMATS = {
    "default": ("Default flux-resource list format string", _LIST + "{nodelist}"),
    "rlist": ("Format including resource list details", _LIST + "{rlist}"),
}
_STATUS = "{state:>12}{color_up}{up:>2}{color_off} {nnodes:>6} "
STATUS_FORMATS = {
    "default": ("Default flux-resource status format string", _STATUS + "{nodelist}"),
    "long": ("Long flux-resource status format string", _STATUS + "+:{reason:<30.30} {nodelist}"),
}
_DRAIN = "{time:<12} {state:<8.8} "
DRAIN_FORMATS = {
    "long": ("Long flux-resource drain format string", _DRAIN + "{ranks:<8.8+} +:{reason:<30.30} {nodelist}"),
    "default": ("Default flux-resource drain format string", _DRAIN + "{reason:<30.30+} {nodelist}"),
}
LIST_STATES = ("up", "down", "allocated", "free", "all")
STATUS_STATES = (
    "all", "online", "avail", "offline", "exclude", "allocated", "torpid", "housekeeping", "drain", "draining",
    "drained",
)  # fmt: skip
_STATUS_DEFAULT = ("avail", "exclude", "torpid", "housekeeping", "draining", "drained")
_JOINT_STATES = {
    "all": ("avail", "exclude", "allocated", "torpid", "housekeeping", "draining", "drained"),
    "drain": ("draining", "drained"),
}


def command(argv: list[str]) -> int:
    return dispatch("resource", "Show what the instance has and what of it is up; drain nodes.", ACTIONS, argv)


def _selection_arguments(parser: Parser) -> None:
    parser.add_argument("-s", "--states", metavar="STATE,...", help="only what is in these states")
    parser.add_argument("-i", "--include", metavar="TARGETS", help="only these ranks (idset) or hosts (hostlist)")
    parser.add_argument("-q", "--queue", metavar="QUEUE,...", help="only what belongs to these queues")


def _table_arguments(parser: Parser) -> None:
    parser.add_argument("-o", "--format", default="default", metavar="FORMAT", help="format, or its name; help lists")
    parser.add_argument("-n", "--no-header", action="store_true", help="leave out the line of headings")
    parser.add_argument("--json", action="store_true", help="print a JSON array of objects")


def _list_arguments(parser: Parser) -> None:
    _selection_arguments(parser)
    _table_arguments(parser)
    empty = parser.add_mutually_exclusive_group()
    empty.add_argument("--skip-empty", action="store_true", default=None, help="leave out states that nothing is in")
    empty.add_argument("--no-skip-empty", dest="skip_empty", action="store_false", help="show them, also with -i")


def _states(args: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """The instance's configuration, and the resources by state."""
    from flux.resource.list import resource_list
    from flux_cli.resource_rows import select

    with open_flux() as handle:
        config = handle.rpc("config.get", nodeid=0)
        sets = resource_list(handle).get()
        config = config.get()
    return config, {name: select(sets[name], args, config) for name in LIST_STATES}


def _list(args: argparse.Namespace) -> int:
    from flux_cli.resource_rows import chosen_states, list_rows, show, show_json, table

    shown = table(args, LIST_FORMATS, "list")
    if shown is None:
        return 0
    config, sets = _states(args)
    wanted = {state: sets[state] for state in chosen_states(args.states, LIST_STATES, ("free", "allocated", "down"))}
    fields = ["state", "propertiesx", "queue"] if args.json else shown.fields
    rows = list_rows(wanted, fields, config, _queues_shown(args, config))
    skip = bool(args.include) if args.skip_empty is None else args.skip_empty
    rows = [item for item in rows if item.nnodes or not skip]
    return show_json(rows) if args.json else show(rows, shown, args)


def _queues_shown(args: argparse.Namespace, config: dict[str, Any]) -> list[str]:
    """Those that --queue names, else those that are neither hidden nor part of another."""
    if args.queue:
        return list(args.queue.split(","))
    from flux_cli.formats import tool_config

    hidden = tool_config("flux-resource", "list").get("hidden-queues", [])
    queues = config.get("queues") or {}
    return [name for name, queue in queues.items() if name not in hidden and not queue.get("parent")]


def _chosen(args: argparse.Namespace) -> Any:
    """All that is in any of the states asked for."""
    from flux.resource import ResourceSet
    from flux_cli.resource_rows import chosen_states

    _config, sets = _states(args)
    states = chosen_states(args.states, LIST_STATES, ("all",))
    return ResourceSet().union(*(sets[state] for state in states)) if len(states) > 1 else sets[states[0]]


def _info(args: argparse.Namespace) -> int:
    found = _chosen(args)
    print(f"{found.nnodes} Nodes, {found.ncores} Cores, {found.ngpus} GPUs")
    return 0


def _print_R(args: argparse.Namespace) -> int:
    print(_chosen(args).encode())
    return 0


# -- status and drain


def _status_arguments(parser: Parser) -> None:
    _selection_arguments(parser)
    _table_arguments(parser)
    _colour_argument(parser)
    parser.add_argument("--skip-empty", action="store_true", help="leave out states that nothing is in, also with -s")


def _colour_argument(parser: Parser) -> None:
    choices = ("never", "always", "auto")
    parser.add_argument("-L", "--color", nargs="?", const="always", default="auto", choices=choices, metavar="WHEN")


def _status(args: argparse.Namespace) -> int:
    from flux_cli.resource_rows import chosen_states, joined_rows, show, show_json, table

    shown = table(args, STATUS_FORMATS, "status")
    if shown is None:
        return 0
    states = chosen_states(args.states, STATUS_STATES, _STATUS_DEFAULT)
    skip = args.states is None or args.skip_empty
    rows = [item for item in _status_rows(args, states) if item.nnodes or not skip]
    return show_json(rows) if args.json else show(joined_rows(rows, shown.fields), shown, args)


def _status_rows(args: argparse.Namespace, states: list[str]) -> list[Any]:
    """A row for each state; for one that has nodes up and nodes down, or several reasons, one for each."""
    from flux.idset import IDset
    from flux.resource import ResourceSet
    from flux.resource.status import resource_status
    from flux_cli.resource_rows import row, select, short_time

    with open_flux() as handle:
        config = handle.rpc("config.get", nodeid=0).get()
        answers = resource_status(handle)
        status = answers.get_status()
        allocated = answers.get_allocated_ranks()
        housekeeping = answers.get_housekeeping_ranks()
    known = ResourceSet(status["R"])
    shown = select(known, args, config).ranks
    parts = _ranks_by_state(status, known.ranks, allocated, housekeeping)
    offline = IDset(status["offline"])
    rows, queues = [], list(config.get("queues") or {})
    for state in itertools.chain.from_iterable(_JOINT_STATES.get(name, (name,)) for name in states):
        halves = [(ranks & shown, info) for ranks, info in parts[state]]
        split = [(ranks - offline, True, info) for ranks, info in halves]
        split += [(ranks & offline, False, info) for ranks, info in halves]
        for ranks, is_up, info in [part for part in split if part[0]] or [(IDset(), True, {})]:
            stamp = info.get("timestamp", 0.0)
            online = "online" if is_up else "offline"
            more = {
                "statex": state,
                "status": online,
                "reason": info.get("reason", ""),
                "timestamp": stamp,
                "time": short_time(stamp) if stamp else "",
            }
            shown_state = state if is_up else f"{state}*"
            rows.append(row(shown_state, known.copy_ranks(ranks), config, queues, **_marks(is_up, args.color), **more))
    return rows


def _ranks_by_state(
    status: dict[str, Any], known: IDset, allocated: IDset, housekeeping: IDset
) -> dict[str, list[tuple[IDset, Any]]]:
    """State to sets of ranks, each with what is known of its being drained."""
    from flux.idset import IDset

    drain = [(IDset(ranks), info) for ranks, info in status["drain"].items()]
    exclude = IDset(status["exclude"])
    drained = IDset().union(*(ranks for ranks, _info in drain))
    return {
        "online": [(IDset(status["online"]), {})],
        "offline": [(IDset(status["offline"]), {})],
        "avail": [(known - drained - exclude, {})],
        "exclude": [(exclude, {})],
        "torpid": [(IDset(status["torpid"]), {})],
        "allocated": [(allocated, {})],
        "housekeeping": [(housekeeping, {})],
        "draining": [(ranks & allocated, info) for ranks, info in drain],
        "drained": [(ranks - allocated, info) for ranks, info in drain],
    }


def _marks(is_up: bool, colour: str) -> dict[str, str]:
    from flux_cli.tables import Mark

    up = Mark("✔", "y") if is_up else Mark("✗", "n")
    if colour == "never" or (colour == "auto" and not sys.stdout.isatty()):
        return {"up": up}
    return {"up": up, "color_up": "\033[01;32m" if is_up else "\033[01;31m", "color_off": "\033[0;0m"}


def _drain_arguments(parser: Parser) -> None:
    parser.add_argument("-f", "--force", action="count", default=0, help="replace the reason; twice: the time, too")
    parser.add_argument("-u", "--update", action="store_true", help="pass over targets that are drained already")
    parser.add_argument("-i", "--include", metavar="TARGETS", help="list only these ranks (idset) or hosts (hostlist)")
    parser.add_argument("-q", "--queue", metavar="QUEUE,...", help="list only what belongs to these queues")
    _table_arguments(parser)
    _colour_argument(parser)
    parser.add_argument("targets", nargs="?", metavar="TARGETS", help="ranks or hosts to drain; default: list")
    parser.add_argument("reason", nargs=argparse.REMAINDER, metavar="REASON")


def _drain(args: argparse.Namespace) -> int:
    from flux.errors import FluxError

    if args.targets is None:
        return _list_drained(args)
    payload = _drain_request(args)
    if args.update and args.force:
        die("--update and --force contradict each other")
    if args.force:
        payload["mode"] = "overwrite" if args.force == 1 else "force-overwrite"
    try:
        _request("drain", payload)
    except FluxError as exc:
        if exc.errno == errno.EEXIST:
            warn("resource", "--force replaces the reason of what is drained already")
        raise
    return 0


def _drain_request(args: argparse.Namespace) -> dict[str, Any]:
    payload = {"targets": args.targets}
    if args.reason:
        payload["reason"] = " ".join(args.reason)
    if args.update:
        payload["mode"] = "update"
    return payload


def _list_drained(args: argparse.Namespace) -> int:
    from flux_cli.resource_rows import joined_rows, show, show_json, table

    shown = table(args, DRAIN_FORMATS, "drain")
    if shown is None:
        return 0
    rows = [item for item in _status_rows(args, ["drain"]) if item.nnodes]
    rows.sort(key=lambda item: item.timestamp, reverse=True)
    return show_json(rows) if args.json else show(joined_rows(rows, shown.fields), shown, args)


def _undrain_arguments(parser: Parser) -> None:
    parser.add_argument("-f", "--force", action="count", default=0, help="do not fail for targets that are not drained")
    parser.add_argument("-u", "--update", action="store_true", help="pass over targets that are not drained")
    parser.add_argument("targets", metavar="TARGETS", help="ranks or hosts")
    parser.add_argument("reason", nargs=argparse.REMAINDER, metavar="REASON")


def _undrain(args: argparse.Namespace) -> int:
    payload = _drain_request(args)
    if args.force:
        payload["mode"] = "update"
    _request("undrain", payload)
    return 0


def _request(method: str, payload: dict[str, Any]) -> None:
    with open_flux() as handle:
        handle.rpc(f"resource.{method}", payload, nodeid=0).get()


# -- eventlog and reload


def _eventlog_arguments(parser: Parser) -> None:
    parser.add_argument("-f", "--format", default="text", choices=("text", "json"))
    times = ("raw", "iso", "offset", "human")
    parser.add_argument("-T", "--time-format", default="raw", choices=times, help="how times are shown")
    parser.add_argument("-H", "--human", action="store_true", help="the same as --time-format=human")
    _colour_argument(parser)
    parser.add_argument("-F", "--follow", action="store_true", help="go on with events as they are posted")
    parser.add_argument("-w", "--wait", metavar="EVENT", help="go on until this event is posted")
    add = parser.add_argument
    add("-m", "--match-context", action="append", default=[], metavar="KEY=VAL", help="with -w: one that has this")
    add("-t", "--timeout", type=parse_duration, metavar="FSD", help="with -w: for at most this time")
    add("-i", "--include", metavar="TARGETS", help="only what is about these ranks (idset) or hosts (hostlist)")


def _eventlog(args: argparse.Namespace) -> int:
    from flux.constants import FLUX_RPC_STREAMING
    from flux.eventlog import Event, EventLogFormatter
    from flux_cli.resource_events import concerns, matches, parse_match

    coloured = args.color == "always" or (args.color == "auto" and args.format == "text" and sys.stdout.isatty())
    formatter = EventLogFormatter(args.format, "human" if args.human else args.time_format, coloured)
    if args.wait is None and (args.match_context or args.timeout is not None):
        die("--match-context and --timeout go with --wait")
    wanted = parse_match(args.match_context)
    with open_flux() as handle:
        ranks = _included(handle, args.include)
        deadline = None if args.timeout is None else time.monotonic() + args.timeout
        journal = handle.rpc("resource.journal", {}, nodeid=0, flags=FLUX_RPC_STREAMING)
        while (events := _next(journal, deadline, args.wait)) or args.follow or args.wait:
            for event in events:
                if ranks is not None and not concerns(event, ranks):
                    continue
                print(
                    formatter.format(Event(event["timestamp"], event["name"], event.get("context") or {})), flush=True
                )
                if args.wait and matches(event, args.wait, wanted):
                    return 0
            journal.reset()
    return 0


def _next(journal: Any, deadline: float | None, awaited: str) -> list[dict[str, Any]]:
    """The next events of the journal. CommandError at the deadline."""
    from flux.errors import FluxError

    if deadline is not None:
        try:
            journal.wait_for(max(0.0, deadline - time.monotonic()))
        except FluxError as exc:
            if exc.errno != errno.ETIMEDOUT:
                raise
            die(f"timed out: there was no event {awaited}")
    events: list[dict[str, Any]] = journal.get()["events"]
    return events


def _included(handle: Any, targets: str | None) -> IDset | None:
    from flux.resource import ResourceSet
    from flux_cli.resource_rows import target_ranks

    if targets is None:
        return None
    return target_ranks(targets, ResourceSet(handle.rpc("resource.status", nodeid=0).get()["R"]))


def _reload_arguments(parser: Parser) -> None:
    parser.add_argument("-f", "--force", action="store_true", help="allow ranks that the instance does not have")
    parser.add_argument("-x", "--xml", action="store_true", help="PATH is a directory of hwloc files RANK.xml")
    parser.add_argument("path", metavar="PATH", help="R in JSON (RFC 20)")


def _reload(args: argparse.Namespace) -> int:
    if not os.path.exists(args.path):
        die(f"{args.path}: there is no such file")
    _request("reload", {"path": os.path.abspath(args.path), "xml": args.xml, "force": args.force})
    return 0


def _acquire_mute(_args: argparse.Namespace) -> int:
    _request("acquire-mute", {})
    return 0


ACTIONS = {
    "list": Action(_list, "show resources by whether they are free", _list_arguments),
    "status": Action(_status, "show nodes by their administrative state", _status_arguments),
    "info": Action(_info, "show how many nodes, cores and GPUs there are", _selection_arguments),
    "drain": Action(_drain, "keep jobs off nodes, or list such nodes", _drain_arguments),
    "undrain": Action(_undrain, "let jobs on nodes again", _undrain_arguments),
    "R": Action(_print_R, "print the resources as R (RFC 20)", _selection_arguments),
    "eventlog": Action(_eventlog, "print the events of the resources", _eventlog_arguments),
    "reload": Action(_reload, "take the resources from a file", _reload_arguments),
    "acquire-mute": Action(_acquire_mute, "tell the scheduler no more what is up and down"),
}
