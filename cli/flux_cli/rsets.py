"""Resource sets as `flux R` reads, combines and makes them (flux-R(1))."""

from __future__ import annotations

import json
import sys
from functools import reduce

from flux.idset import IDset
from flux.resource.Rlist import Rlist
from flux_cli.common import die

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ["combined", "made", "parsed", "read_sets"]


def read_sets(least: int = 1, what: str = "") -> list[Rlist]:
    """The sets on standard input. CommandError when there are less than it takes, or one is none."""
    try:
        sets = [Rlist(found) for found in _objects(sys.stdin.read())]
    except ValueError as exc:
        die(f"Failed to decode R on stdin: {exc}")
    if not sets:
        die("Failed to read an R object: there is none on stdin")
    if len(sets) < least:
        die(f"{what} requires at least {least} resource sets")
    return sets


def _objects(text: str) -> Iterator[Any]:
    """JSON values, one after the other. ValueError with the place where there is none."""
    decoder = json.JSONDecoder()
    text = text.strip()
    while text:
        found, end = decoder.raw_decode(text)
        yield found
        text = text[end:].lstrip()


def combined(sets: list[Rlist], combine: Callable[[Rlist, Rlist], Rlist]) -> Rlist:
    """One set of several, from the first to the last. CommandError when they contradict each other."""
    try:
        return reduce(combine, sets)
    except ValueError as exc:
        die(str(exc))


def made(args: Namespace) -> Rlist:
    """The set that the options of `flux R encode` describe."""
    from flux.hostlist import Hostlist

    try:
        hosts = list(Hostlist(args.hosts)) if args.hosts else []
        ranks = IDset(args.ranks) if args.ranks else IDset(range(len(hosts) or 1))
        cores, gpus = _children(args)
    except ValueError as exc:
        die(str(exc))
    if hosts and len(hosts) != ranks.count():
        die(f"hostname count in '{args.hosts}' does not match nranks ({ranks.count()})")
    rlist = Rlist()
    for rank, host in zip(ranks, hosts or [_hostname()] * ranks.count(), strict=True):
        rlist.add_rank(rank, host, cores)
        if gpus:
            rlist.add_child(rank, "gpu", gpus)
    return rlist


def _children(args: Namespace) -> tuple[IDset, IDset]:
    """Cores and GPUs of each rank. ValueError names what is no idset, or no XML; OSError what cannot be read."""
    import os

    from flux.cores import cores_of
    from flux.resource.sources import count_gpus, read_xml

    if args.xml:
        host = read_xml(args.xml)
        return IDset(range(host.cores)), IDset(range(host.gpus))
    if args.local:
        return cores_of(os.sched_getaffinity(0)), IDset(range(count_gpus()))
    return IDset(args.cores or "0"), IDset(args.gpus or "")


def _hostname() -> str:
    import socket

    return socket.gethostname()


def parsed(path: str) -> Rlist:
    """The set that the table [resource] describes, ranks by the order in which it names their hosts."""
    from flux.configfile import read_config
    from flux.hostlist import Hostlist
    from flux.resource.sources import from_entries

    table = read_config(path).get("resource") or {}
    if "config" not in table and "path" not in table:
        die("Config file error: resource.config or resource.path must be defined")
    try:
        if "config" in table:
            hosts = [host for entry in table["config"] for host in Hostlist(entry.get("hosts", ""))]
            return from_entries(table["config"], list(dict.fromkeys(hosts)))
        with open(table["path"], encoding="utf-8") as file:
            return Rlist(file.read())
    except OSError as exc:
        die(f"Config file error: resource.path {table['path']}: {exc.strerror}")
    except (AttributeError, TypeError, ValueError) as exc:
        die(f"Config file error: resource.{exc}")
