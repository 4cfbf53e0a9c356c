"""`flux R`: make, combine and show resource sets (RFC 20; flux-R(1))."""

from __future__ import annotations

import argparse

from flux_cli.common import Action, Parser, die, dispatch, json_text, warn
from flux_cli.rsets import combined, made, parsed, read_sets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.resource.Rlist import Rlist


def command(argv: list[str]) -> int:
    return dispatch("R", "Make, combine and show resource sets (RFC 20), one JSON object each.", ACTIONS, argv)


def _print(rlist: Rlist) -> int:
    R = rlist.to_dict()
    R["execution"].setdefault("nodelist", [""])
    print(json_text(R))
    return 0


# -- make


def _encode_arguments(parser: Parser) -> None:
    parser.add_argument("-r", "--ranks", metavar="IDSET", help="ranks; default: one for each host, or 0")
    parser.add_argument("-c", "--cores", metavar="IDS", help="cores of each rank; default: 0")
    parser.add_argument("-g", "--gpus", metavar="IDS", help="GPUs of each rank; default: none")
    parser.add_argument("-H", "--hosts", metavar="HOSTS", help="host of each rank; default: this one")
    parser.add_argument(
        *("-p", "--property"),
        action="append",
        default=[],
        metavar="NAME[:RANKS]",
        help="give ranks, or all, a property",
    )
    parser.add_argument("-l", "--local", action="store_true", help="cores and GPUs of this host on each rank")
    parser.add_argument("-f", "--xml", metavar="FILE", help="cores and GPUs that hwloc's XML shows on each rank")


def _encode(args: argparse.Namespace) -> int:
    return _print(_with_properties(made(args), args.property))


def _parse_config_arguments(parser: Parser) -> None:
    parser.add_argument("path", metavar="PATH", help="TOML file, or a directory of them")


def _parse_config(args: argparse.Namespace) -> int:
    return _print(parsed(args.path))


# -- combine


def _append(_args: argparse.Namespace) -> int:
    def append(one: Rlist, other: Rlist) -> Rlist:
        if one.intersect(other).nnodes():
            die(f"R objects '{one.dumps()}' and '{other.dumps()}' overlap")
        result = one.copy()
        result.append(other)
        return result

    return _print(combined(read_sets(), append))


def _diff(_args: argparse.Namespace) -> int:
    return _print(combined(read_sets(2, "diff"), lambda one, other: one.diff(other)))


def _intersect(_args: argparse.Namespace) -> int:
    return _print(combined(read_sets(2, "intersect"), lambda one, other: one.intersect(other)))


def _union() -> Rlist:
    return combined(read_sets(), lambda one, other: one.union(other))


# -- change


def _remap(_args: argparse.Namespace) -> int:
    rlist = _union()
    rlist.remap()
    return _print(rlist)


def _rerank_arguments(parser: Parser) -> None:
    parser.add_argument("hosts", metavar="HOSTLIST", help="the host of rank 0, of rank 1, and so on")


def _rerank(args: argparse.Namespace) -> int:
    from flux.hostlist import Hostlist

    rlist = _union()
    try:
        hosts = list(Hostlist(args.hosts))
    except ValueError as exc:
        die(str(exc))
    if len(hosts) != rlist.nnodes():
        few_or_many = "few" if len(hosts) < rlist.nnodes() else "many"
        die(f"Too {few_or_many} hosts specified (expected {rlist.nnodes()})")
    ranks = dict(zip(rlist.nodelist(), rlist.ranks(), strict=True))
    missing = Hostlist([host for host in hosts if host not in ranks])
    if missing:
        die(f"R has no host {missing}: it has {rlist.nodelist()}")
    rlist.remap({ranks[host]: number for number, host in enumerate(hosts)})
    return _print(rlist)


def _set_property_arguments(parser: Parser) -> None:
    parser.add_argument("properties", nargs="*", metavar="NAME[:RANKS]", help="give ranks, or all, a property")


def _set_property(args: argparse.Namespace) -> int:
    return _print(_with_properties(_union(), args.properties))


def _with_properties(rlist: Rlist, properties: list[str]) -> Rlist:
    for word in properties:
        name, separator, ranks = word.partition(":")
        try:
            rlist.set_property(name, ranks if separator else None)
        except ValueError as exc:
            die(f"failed to assign properties: {exc}")
    return rlist


# -- show


def _decode_arguments(parser: Parser) -> None:
    parser.add_argument("-s", "--short", action="store_true", help="print the short form, as rank[0-1]/core[0-3]")
    parser.add_argument("-n", "--nodelist", action="store_true", help="print the hosts")
    parser.add_argument("-r", "--ranks", action="store_true", help="print the ranks")
    parser.add_argument("-c", "--count", metavar="TYPE", help="print how many there are: node, core or gpu")
    parser.add_argument("-i", "--include", metavar="RANKS", help="only these ranks")
    parser.add_argument("-x", "--exclude", metavar="RANKS", help="without these ranks")
    parser.add_argument("-p", "--properties", metavar="LIST", help="only ranks that have all of these, not any ^NAME")


def _decode(args: argparse.Namespace) -> int:
    rlist = _selected(_union(), args)
    lines = []
    if args.short:
        lines.append(rlist.dumps())
    if args.nodelist:
        lines.append(str(rlist.nodelist()))
    if args.ranks:
        lines.append(str(rlist.ranks()))
    if args.count:
        lines.append(str(rlist.count("node" if args.count in ("rank", "ranks") else args.count)))
    if not lines:
        return _print(rlist)
    print("\n".join(lines))
    return 0


def _selected(rlist: Rlist, args: argparse.Namespace) -> Rlist:
    try:
        if args.include:
            rlist = rlist.copy_ranks(args.include)
        if args.exclude:
            rlist.remove_ranks(args.exclude)
    except ValueError as exc:
        die(f"invalid ranks: {exc}")
    if args.properties:
        rlist = rlist.copy_constraint({"properties": args.properties.split(",")})
    return rlist


def _verify(_args: argparse.Namespace) -> int:
    """Ranks of the second set have what the first one says, on the host that it says; more is told and no error."""
    sets = read_sets(2, "verify")
    if len(sets) != 2:
        die("verify requires exactly 2 R objects on stdin")
    expected, found = sets
    hosts, names = (dict(zip(rlist.ranks(), rlist.nodelist(), strict=True)) for rlist in sets)
    for rank in found.ranks():
        if rank not in hosts:
            die(f"rank {rank} not found in expected ranks")
        if names[rank] != hosts[rank]:
            die(f"rank {rank} got hostname '{names[rank]}', expected '{hosts[rank]}'")
        wanted, there = expected.copy_ranks(rank), found.copy_ranks(rank)
        missing, extra = wanted.diff(there), there.diff(wanted)
        if missing.nnodes():
            die(f"rank {rank} ({hosts[rank]}) missing resources: {_children(missing)}")
        if extra.nnodes():
            warn("R", f"rank {rank} ({hosts[rank]}) has extra resources: {_children(extra)}")
    return 0


def _children(rlist: Rlist) -> str:
    return rlist.dumps().partition("/")[2]


ACTIONS = {
    "append": Action(_append, "join the sets on stdin, which share nothing"),
    "decode": Action(_decode, "show the union of the sets on stdin", _decode_arguments),
    "diff": Action(_diff, "what the first set on stdin has and no other"),
    "encode": Action(_encode, "make a set", _encode_arguments),
    "intersect": Action(_intersect, "what all sets on stdin have"),
    "parse-config": Action(
        _parse_config, "the set that [resource] of a configuration describes", _parse_config_arguments
    ),
    "remap": Action(_remap, "number the ranks of the union from 0 on"),
    "rerank": Action(_rerank, "number the ranks of the union by the order of hosts", _rerank_arguments),
    "set-property": Action(_set_property, "give ranks of the union properties", _set_property_arguments),
    "verify": Action(_verify, "check that the second set on stdin has at least what the first one says"),
}
