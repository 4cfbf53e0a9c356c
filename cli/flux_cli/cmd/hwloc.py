"""`flux hwloc`: the hardware of the brokers' hosts as hwloc sees it (flux-hwloc(1))."""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from flux_cli.common import Action, Parser, die, dispatch, open_flux
from flux_cli.ranks import ranks_of


def command(argv: list[str]) -> int:
    return dispatch("hwloc", "Show the hardware of the brokers' hosts as hwloc sees it.", ACTIONS, argv)


def _where_arguments(parser: Parser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument("-l", "--local", action="store_true", help="only the host of this broker")
    where.add_argument("-r", "--rank", "--ranks", metavar="NODESET", default="all", help="only these ranks")


def _topologies(args: argparse.Namespace) -> list[str]:
    """The XML of each rank asked for."""
    with open_flux() as handle:
        ranks = [int(handle.attr_get("rank"))] if args.local else ranks_of(handle, args.rank)
        requests = [handle.rpc("resource.topo-get", nodeid=rank) for rank in ranks]
        return [request.get_str() for request in requests]


def _info(args: argparse.Namespace) -> int:
    import xml.etree.ElementTree as ET

    counts: Counter[str] = Counter()
    for text in _topologies(args):
        counts.update(part.get("type", "") for part in ET.fromstring(text).iter("object"))
    print(", ".join(f"{counts[type]} {type}{'s' * (counts[type] != 1)}" for type in ("Machine", "Core", "PU")))
    return 0


def _topology(args: argparse.Namespace) -> int:
    for text in _topologies(args):
        sys.stdout.write(text)
    return 0


def _lstopo_arguments(parser: Parser) -> None:
    _where_arguments(parser)
    parser.add_argument("options", nargs=argparse.REMAINDER, metavar="-- OPTION", help="given to lstopo")


def _lstopo(args: argparse.Namespace) -> int:
    """hwloc 2 takes one machine at a time, so there is one run for each."""
    import shutil
    import subprocess

    program = shutil.which("lstopo-no-graphics") or shutil.which("lstopo")
    if program is None:
        die("there is no lstopo here; it comes with hwloc")
    options = args.options[args.options[:1] == ["--"] :]
    code = 0
    for text in _topologies(args):
        result = subprocess.run([program, "--if", "xml", "-i", "-", *options], input=text.encode(), check=False)
        code = code or result.returncode
    return code


def _reload_arguments(parser: Parser) -> None:
    parser.add_argument(
        "directory", nargs="?", metavar="DIR", help="of files RANK.xml; default: what the hosts show now"
    )


def _reload(args: argparse.Namespace) -> int:
    import os
    import tempfile

    if args.directory is not None:
        return _reload_from(os.path.abspath(args.directory))
    with tempfile.TemporaryDirectory(prefix="flux-hwloc-") as directory:
        for rank, text in enumerate(_topologies(argparse.Namespace(local=False, rank="all"))):
            with open(os.path.join(directory, f"{rank}.xml"), "w", encoding="utf-8") as file:
                file.write(text)
        return _reload_from(directory)


def _reload_from(directory: str) -> int:
    with open_flux() as handle:
        handle.rpc("resource.reload", {"path": directory, "xml": True, "force": False}, nodeid=0).get()
    return 0


ACTIONS = {
    "info": Action(_info, "show how many machines, cores and processing units there are", _where_arguments),
    "topology": Action(_topology, "print the XML of each rank", _where_arguments),
    "reload": Action(_reload, "take the resources of the instance from hwloc XML", _reload_arguments),
    "lstopo": Action(_lstopo, "show each rank's topology by lstopo(1)", _lstopo_arguments),
}
