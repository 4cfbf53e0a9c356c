"""`flux housekeeping`: what is done on nodes before they are given back (flux-housekeeping(1))."""

from __future__ import annotations

import argparse
import time

from flux_cli.common import Action, Parser, die, dispatch, open_flux
from flux_cli.job_ids import parse_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.core.handle import Flux
    from flux.hostlist import Hostlist
    from flux.idset import IDset


def command(argv: list[str]) -> int:
    return dispatch("housekeeping", "Show and end what is done on nodes before they are given back.", ACTIONS, argv)


# -- list

_IDS = ("id", "id.dec", "id.hex", "id.f58", "id.f58plain", "id.kvs", "id.dothex", "id.words", "id.emoji")
HEADINGS = {
    **dict.fromkeys(_IDS, "JOBID"),
    "t_start": "T_START",
    "runtime": "RUNTIME",
    "ranks": "RANKS",
    "nodelist": "NODELIST",
    "nnodes": "NNODES",
    "allocated.ranks": "RANKS",
    "allocated.nodelist": "NODELIST",
    "allocated.nnodes": "NNODES",
    "pending.ranks": "ACTIVE_RANKS",
    "pending.nodelist": "ACTIVE_NODES",
    "pending.nnodes": "#ACTIVE",
}


class Nodes:
    """Some nodes of the instance."""

    def __init__(self, ranks: IDset, hosts: Hostlist) -> None:
        from flux.hostlist import Hostlist

        self.ranks = ranks
        self.nnodes = len(ranks)
        self.nodelist = Hostlist([hosts[rank] for rank in ranks])


class Row:
    """The housekeeping of one job."""

    def __init__(self, jobid: str, running: dict[str, Any], hosts: Hostlist, shown: IDset | None) -> None:
        from flux.idset import IDset
        from flux.job.JobID import JobID

        pending, allocated = IDset(running["pending"]), IDset(running["allocated"])
        if shown is not None:
            pending, allocated = pending & shown, allocated & shown
        self.id = JobID(jobid)
        self.t_start = running["t_start"]
        self.runtime = max(time.time() - self.t_start, 0.0)
        self.pending, self.allocated = Nodes(pending, hosts), Nodes(allocated, hosts)
        self.ranks, self.nnodes = self.allocated.ranks, self.allocated.nnodes
        self.nodelist = self.allocated.nodelist


def _list_arguments(parser: Parser) -> None:
    parser.add_argument("-i", "--include", metavar="HOSTS|RANKS", help="only these ranks (idset) or hosts (hostlist)")
    parser.add_argument("-o", "--format", default="default", metavar="FORMAT", help="format, or its name; help lists")
    parser.add_argument("-n", "--no-header", action="store_true", help="leave out the line of headings")


def _list(args: argparse.Namespace) -> int:
    from flux_cli.tables import Format, show

    formats = {
        "default": Format(
            "Default flux-housekeeping format string",
            "{id.f58:>12} {nnodes:>6} {pending.nnodes:>7} {runtime!F:>8} {nodelist}",
        ),
        "pending": Format(
            "flux-housekeeping format string including active nodes only",
            "{id.f58:>12} {pending.nnodes:>7} {runtime!F:>8} {pending.nodelist}",
        ),
    }

    def rows() -> list[Row]:
        with open_flux() as handle:
            hosts = _hosts(handle)
            shown = _ranks(args.include, hosts, must_exist=False) if args.include else None
            running = handle.rpc("job-manager.stats-get").get()["housekeeping"]["running"]
        found = [Row(jobid, entry, hosts, shown) for jobid, entry in running.items()]
        return [row for row in found if row.nnodes]

    return show("flux-housekeeping", rows, args.format, formats, HEADINGS, header=not args.no_header)


def _hosts(handle: Flux) -> Hostlist:
    from flux.hostlist import Hostlist

    return Hostlist(handle.attr_get("hostlist"))


def _ranks(text: str, hosts: Hostlist, must_exist: bool) -> IDset:
    """Ranks of an idset or of a hostlist."""
    from flux.hostlist import Hostlist
    from flux.idset import IDset

    try:
        return IDset(text)
    except ValueError:
        pass
    try:
        wanted = list(Hostlist(text))
    except ValueError:
        die("--targets must be a valid Idset or Hostlist")
    known = list(hosts)
    missing = [host for host in wanted if host not in known]
    if missing and must_exist:
        die(f"didn't find {missing[0]} in instance hostlist")
    return IDset([rank for rank, host in enumerate(known) if host in wanted])


# -- kill


def _kill_arguments(parser: Parser) -> None:
    parser.add_argument("-s", "--signal", type=int, default=15, metavar="SIGNUM", help="another signal than SIGTERM")
    parser.add_argument("-t", "--targets", metavar="RANKS|HOSTS", help="only on these ranks or hosts")
    parser.add_argument("-j", "--jobid", type=parse_id, metavar="JOBID", help="only of this job")
    parser.add_argument("--all", action="store_true", help="of all jobs")


def _kill(args: argparse.Namespace) -> int:
    if args.jobid is None and args.targets is None and not args.all:
        die("specify at least one of --targets, --jobid, or --all")
    if args.all and args.jobid is not None:
        die("do not specify --jobid with --all")
    request: dict[str, Any] = {"signum": args.signal}
    if args.jobid is not None:
        request["jobid"] = int(args.jobid)
    with open_flux() as handle:
        if args.targets:
            request["ranks"] = str(_ranks(args.targets, _hosts(handle), must_exist=True))
        handle.rpc("job-manager.housekeeping-kill", request).get()
    return 0


ACTIONS = {
    "list": Action(_list, "list jobs whose nodes are not given back yet", _list_arguments),
    "kill": Action(_kill, "signal the commands that run", _kill_arguments),
}
