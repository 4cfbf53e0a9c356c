"""`flux hostlist`: fetch, combine and show lists of hosts (flux-hostlist(1))."""

from __future__ import annotations

import argparse

from flux.hostlist import Hostlist
from flux_cli.common import Parser, die
from flux_cli.host_sources import Sources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_USAGE = 2


def command(argv: list[str]) -> int:
    args = _parser().parse_intermixed_args(argv)
    with Sources(args.fallback) as sources:
        lists = sources.fetch(args.sources or (["local"] if args.local else ["stdin"]))
    hosts = _shape(_combine(lists, args), args)
    if not args.quiet:
        _print(hosts, args)
        return 0
    if args.find is not None:
        _indices(hosts, args.find)
    return 0 if hosts else 1


def _parser() -> Parser:
    parser = Parser("hostlist", "Fetch, combine and show lists of hosts.")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("-e", "--expand", action="store_true", help="print each host, see --delimiter")
    shown.add_argument("-c", "--count", action="store_true", help="print how many hosts there are")
    parser.add_argument("-d", "--delimiter", default=" ", metavar="S", help="what stands between hosts of --expand")
    parser.add_argument("-n", "--nth", metavar="[-]IDS", help="only hosts at these indices, - counts from the end")
    parser.add_argument("-F", "--find", metavar="HOSTS", help="print the indices of these hosts")
    parser.add_argument("-L", "--limit", type=int, metavar="N", help="at most the first N hosts, or the last with -N")
    parser.add_argument("-S", "--sort", action="store_true", help="sort")
    parser.add_argument("-x", "--exclude", metavar="HOSTS|IDS", help="leave out these hosts, or those at these indices")
    parser.add_argument("-u", "--union", "--unique", action="store_true", help="sort, and show each host once")
    combined = parser.add_mutually_exclusive_group()
    combined.add_argument("-i", "--intersect", action="store_true", help="hosts that are in all lists")
    combined.add_argument("-m", "--minus", action="store_true", help="hosts of the first list but not of the others")
    combined.add_argument("-X", "--xor", action="store_true", help="symmetric difference of all lists")
    parser.add_argument("-f", "--fallback", action="store_true", help="what looks like the id of a job may be a host")
    parser.add_argument("-l", "--local", action="store_true", help="without SOURCES, take local instead of stdin")
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing; fail when there is no host")
    parser.add_argument(
        "sources", nargs="*", metavar="SOURCES", help="instance, JOBID, local, avail, stdin (-), or hosts themselves"
    )
    return parser


# -- sets


def _combine(lists: list[Hostlist], args: argparse.Namespace) -> Hostlist:
    first, rest = lists[0], lists[1:]
    if args.intersect:
        return _fold(first, rest, _intersection)
    if args.xor:
        return _fold(first, rest, _symmetric_difference)
    for other in rest:
        if args.minus:
            first.delete(other)
        else:
            first.append(other)
    return first


def _fold(first: Hostlist, rest: list[Hostlist], combine: Callable[[Hostlist, Hostlist], Hostlist]) -> Hostlist:
    for other in rest:
        first = combine(first, other)
    return first


def _intersection(one: Hostlist, other: Hostlist) -> Hostlist:
    return _set(set(one) & set(other))


def _symmetric_difference(one: Hostlist, other: Hostlist) -> Hostlist:
    return _set(set(one) ^ set(other))


def _set(hosts: set[str]) -> Hostlist:
    found = Hostlist(sorted(hosts))
    found.uniq()
    return found


def _shape(hosts: Hostlist, args: argparse.Namespace) -> Hostlist:
    """Exclude, sort and cut, in this order."""
    if args.exclude is not None:
        hosts = _without(hosts, args.exclude)
    if args.sort:
        hosts.sort()
    if args.union:
        hosts.uniq()
    if args.limit:
        hosts = hosts[: args.limit] if args.limit > 0 else hosts[args.limit :]
    return hosts if args.nth is None else _nth(hosts, args.nth)


def _without(hosts: Hostlist, text: str) -> Hostlist:
    """Without the hosts named or, when none of them is there, without those at the indices."""
    try:
        unwanted = set(Hostlist(text))
    except ValueError as exc:
        die(f"-x/--exclude: {exc}", _USAGE)
    kept = [host for host in hosts if host not in unwanted]
    indices = _idset(text)
    if len(kept) == len(hosts) and indices is not None:
        kept = [host for i, host in enumerate(hosts) if i not in indices]
    return Hostlist(kept)


def _idset(text: str) -> set[int] | None:
    from flux.idset import IDset

    try:
        return set(IDset(text))
    except ValueError:
        return None


def _nth(hosts: Hostlist, text: str) -> Hostlist:
    """Hosts at indices, in the order of the list."""
    indices = _idset(text.removeprefix("-"))
    if indices is None:
        die(f"-n/--nth: '{text}': expected an idset such as 0-3,7, with - before it to count from the end")
    wanted = [-i for i in sorted(indices, reverse=True)] if text.startswith("-") else sorted(indices)
    try:
        return Hostlist([hosts[i] for i in wanted])
    except IndexError as exc:
        die(f"-n/--nth: {exc}")


# -- output


def _print(hosts: Hostlist, args: argparse.Namespace) -> None:
    if args.find is not None:
        print(_indices(hosts, args.find))
    elif args.count:
        print(hosts.count())
    elif args.expand and hosts:
        print(args.delimiter.replace("\\n", "\n").join(hosts))
    elif hosts:
        print(hosts.encode())


def _indices(hosts: Hostlist, wanted: str) -> str:
    try:
        return " ".join(map(str, hosts.index(wanted)))
    except (OSError, ValueError) as exc:
        die(f"-F/--find: {exc.args[-1]}")
