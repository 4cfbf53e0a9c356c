"""`flux overlay`: look at the tree of brokers, and change it (flux-overlay(1))."""

from __future__ import annotations

import errno

from flux.errors import FluxError
from flux_cli.common import Action, Parser, die, dispatch, open_flux, print_json, warn
from flux_cli.message_trace import add_color, add_trace_options, colored, trace
from flux_cli.overlay_tree import ENDED, Gatherer, Node, ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from flux.core.handle import Flux

STATES = ("full", "partial", "offline", "degraded", "lost")
_COLORS = {"partial": "\033[33m", "degraded": "\033[33m", "full": ""}
_BAD, _MARK, _RESET = "\033[31m", "\033[34m", "\033[0m"


def command(argv: list[str]) -> int:
    return dispatch("overlay", "Look at the tree of brokers, and change it.", ACTIONS, argv)


# -- arguments


def _seconds(text: str) -> float:
    from flux.util import parse_fsd

    try:
        return parse_fsd(text)
    except ValueError as exc:
        die(str(exc))


def _add_timeout(parser: Parser, default: str) -> None:
    text = f"time to wait for each answer, 0 for ever (default: {default})"
    parser.add_argument("-t", "--timeout", metavar="FSD", default=default, help=text)


class Hosts:
    """Which rank is where (attributes `size` and `hostlist`)."""

    def __init__(self, handle: Flux) -> None:
        from flux.hostlist import Hostlist

        self.size = int(handle.attr_get("size"))
        self.names = Hostlist(handle.attr_get("hostlist")).expand()

    def of(self, rank: int) -> str:
        return self.names[rank] if rank < len(self.names) else "?"

    def rank(self, text: str) -> int:
        """A rank that is given as a number. Ends the command when it is none of this instance."""
        if not text.isdecimal() or int(text) >= self.size:
            die(f"{text} is not a valid rank in this instance")
        return int(text)

    def ranks(self, text: str) -> list[int]:
        """Ranks given as an idset or as a hostlist."""
        from flux.hostlist import Hostlist
        from flux.idset import IDset

        try:
            return [self.rank(str(rank)) for rank in IDset(text)]
        except ValueError:
            found = []
        try:
            hosts = Hostlist(text)
        except ValueError as exc:
            die(str(exc))
        for host in hosts:
            ranks = [rank for rank, name in enumerate(self.names) if name == host]
            found += ranks or die(f"host {host} not found in host map")
        return found


# -- status


def _status_arguments(parser: Parser) -> None:
    add = parser.add_argument
    add("-r", "--rank", metavar="RANK", default="0", help="start at this broker (default: 0)")
    add("-v", action="count", default=0, dest="more", help="show times; twice: of the requests, too")
    add("--verbose", metavar="LEVEL", nargs="?", type=int, const=1, default=0, help="the same as -v LEVEL times")
    _add_timeout(parser, "0.5s")
    add("--summary", action="store_true", help="show the status alone")
    add("--down", action="store_true", help="show the ways to brokers that are not full")
    add("--no-pretty", action="store_true", help="show no tree")
    add("--no-ghost", action="store_true", help="leave out what lies behind a broker that is gone")
    add_color(parser)
    add("-H", "--highlight", metavar="TARGET", action="append", default=[], help="mark ranks or hosts")
    add("-w", "--wait", metavar="STATE", help=f"wait for a state first: {', '.join(STATES)}")
    add("--json", action="store_true", help="print the tree as a JSON object")


def _status(args: argparse.Namespace) -> int:
    timeout = _seconds(args.timeout)
    with open_flux() as handle:
        hosts = Hosts(handle)
        rank = hosts.rank(args.rank)
        if args.wait is not None:
            _wait(handle, rank, args.wait, timeout)
        if args.summary:
            print(ask(handle, "overlay.health", None, rank, timeout)["status"])
            return 0
        tree = Gatherer(handle, timeout, not args.no_ghost).tree(rank)
        marked = {r for text in args.highlight for r in hosts.ranks(text)}
    if args.json:
        print_json(tree.as_dict())
    else:
        Printer(hosts, args, marked).show(tree)
    return 0


def _wait(handle: Flux, rank: int, state: str, timeout: float) -> None:
    """Until a subtree has a status. Ends the command after timeout seconds; 0 for ever."""
    import time

    from flux.message import FLAG_STREAMING

    if state not in STATES:
        die(f"invalid --wait state '{state}': it is one of {', '.join(STATES)}")
    deadline = time.monotonic() + timeout
    health = handle.rpc("overlay.health", nodeid=rank, flags=FLAG_STREAMING)
    status = "silent"
    while status != state:
        health.reset()
        try:
            health.wait_for(max(0.0, deadline - time.monotonic()) if timeout else -1.0)
        except TimeoutError:
            die(f"timed out after {timeout:g}s: rank {rank} is {status}, not {state}")
        status = health.get()["status"]


class Printer:
    """Prints a tree, one line for each broker."""

    def __init__(self, hosts: Hosts, args: argparse.Namespace, marked: set[int]) -> None:
        self._hosts, self._args, self._marked = hosts, args, marked
        self._verbose = args.more + args.verbose
        self._color = colored(args.color)

    def show(self, node: Node, lead: str = "", branch: str = "") -> None:
        if self._args.down and node.status == "full":
            return
        print(f"{'' if self._args.no_pretty else lead + branch}{self._name(node)}: {self._state(node)}")
        children = [child for child in node.children if not self._args.down or child.status != "full"]
        below = lead + {"├─ ": "│  ", "└─ ": "   "}.get(branch, "")
        for child in children:
            self.show(child, below, "└─ " if child is children[-1] else "├─ ")

    def _name(self, node: Node) -> str:
        name = f"{node.rank} {self._hosts.of(node.rank)}"
        if not any(below.rank in self._marked for below in node.walk()):
            return name
        return f"{_MARK}{name}{_RESET}" if self._color else f"<<{name}>>"

    def _state(self, node: Node) -> str:
        text = node.status
        if self._color:
            text = f"{_COLORS.get(text, _BAD)}{text}{_RESET}" if _COLORS.get(text, _BAD) else text
        if self._verbose and node.duration >= 0:
            text += f" for {node.duration:g}s"
        if self._verbose > 1 and node.round_trip >= 0:
            text += f" ({node.round_trip * 1e3:.3f} ms)"
        return f"{text} {node.error}" if node.error else text


# -- errors, lookup, parentof


def _errors(args: argparse.Namespace) -> int:
    from flux.hostlist import Hostlist

    found: dict[str, list[str]] = {}
    with open_flux() as handle:
        hosts = Hosts(handle)
        for node in Gatherer(handle, _seconds(args.timeout)).tree(0).walk():
            if node.presumed:
                text = "lost parent"
            elif node.error or node.status not in STATES:
                text = node.error or node.status
            elif node.status in ENDED and node.status == "lost":
                text = node.status
            else:
                continue
            found.setdefault(text, []).append(hosts.of(node.rank))
    for text, names in found.items():
        print(f"{Hostlist(names).encode()}: {text}")
    return 0


def _target_argument(parser: Parser) -> None:
    parser.add_argument("target", metavar="TARGET", help="ranks or hosts")


def _lookup(args: argparse.Namespace) -> int:
    from flux.hostlist import Hostlist
    from flux.idset import IDset

    with open_flux() as handle:
        hosts = Hosts(handle)
    ranks = hosts.ranks(args.target)
    by_rank = args.target[0].isdecimal() or args.target[0] == "["
    print(Hostlist([hosts.of(rank) for rank in ranks]).encode() if by_rank else IDset(ranks))
    return 0


def _rank_argument(parser: Parser) -> None:
    parser.add_argument("rank", metavar="RANK", help="of the broker")


def _parentof(args: argparse.Namespace) -> int:
    with open_flux() as handle:
        print(_parent(handle, Hosts(handle).rank(args.rank)))
    return 0


def _parent(handle: Flux, rank: int) -> int:
    """The parent of a rank: what the broker itself says, or the tree of the instance when it cannot be asked."""
    if rank == 0:
        die("0 has no parent")
    try:
        return int(ask(handle, "overlay.parent", None, rank, 0.5)["rank"])
    except (FluxError, TimeoutError) as exc:
        if exc.errno not in (errno.ENOSYS, errno.EHOSTUNREACH, errno.ETIMEDOUT):
            raise
    return _parent_in(handle.rpc("overlay.topology", {"rank": 0}, nodeid=0).get(), rank)


def _parent_in(tree: dict[str, Any], rank: int) -> int:
    """The rank whose child is `rank` in an answer of `overlay.topology`; -1 when nobody's is."""
    if any(child["rank"] == rank for child in tree["children"]):
        return int(tree["rank"])
    return max((_parent_in(child, rank) for child in tree["children"]), default=-1)


# -- disconnect, reparent


def _disconnect_arguments(parser: Parser) -> None:
    parser.add_argument("target", metavar="TARGET", help="rank or host of the topmost broker")
    parser.add_argument("-r", "--parent", metavar="RANK", help="its parent (default: as the tree has it)")


def _disconnect(args: argparse.Namespace) -> int:
    with open_flux() as handle:
        hosts = Hosts(handle)
        ranks = hosts.ranks(args.target)
        if len(ranks) != 1:
            die(f"{args.target} is {len(ranks)} brokers: name one")
        rank = ranks[0]
        parent = hosts.rank(args.parent) if args.parent is not None else _parent(handle, rank)
        child = f"child {hosts.of(rank)} (rank {rank})"
        warn("overlay", f"asking {hosts.of(parent)} (rank {parent}) to disconnect {child}")
        handle.rpc("overlay.disconnect-subtree", {"rank": rank}, nodeid=parent).get()
    return 0


def _reparent_arguments(parser: Parser) -> None:
    parser.add_argument("rank", metavar="RANK", help="of the broker that moves, with all below it")
    parser.add_argument("parent", metavar="PARENT", help="rank of its new parent, one of those above it")
    _add_timeout(parser, "10s")


def _reparent(args: argparse.Namespace) -> int:
    from flux.message import FLAG_STREAMING

    timeout = _seconds(args.timeout)
    with open_flux() as handle:
        hosts = Hosts(handle)
        rank, parent = hosts.rank(args.rank), hosts.rank(args.parent)
        health = handle.rpc("overlay.health", nodeid=parent, flags=FLAG_STREAMING)
        handle.rpc("overlay.reparent", {"parent": parent}, nodeid=rank).get()
        try:
            while not _has_child(health, rank, timeout):
                health.reset()
        except TimeoutError:
            die(
                f"rank {rank} has not come under rank {parent} within {timeout:g}s: its parent is rank "
                f"{_parent(handle, rank)}"
            )
    return 0


def _has_child(health: Any, rank: int, timeout: float) -> bool:
    health.wait_for(timeout or -1.0)
    children = health.get()["children"]
    return any(child["rank"] == rank and child["status"] not in ENDED for child in children)


# -- trace


def _trace_arguments(parser: Parser) -> None:
    parser.add_argument(
        "-r", "--rank", metavar="RANK", type=int, default=-1, help="messages from and to this peer alone"
    )
    add_trace_options(parser)
    parser.add_argument("glob", metavar="TOPIC", nargs="?", default="*", help="topics to show, * and ? being wildcards")


def _trace(args: argparse.Namespace) -> int:
    return trace("overlay.trace", args, {"topic_glob": args.glob, "nodeid": args.rank})


ACTIONS = {
    "status": Action(_status, "Show the state of each broker, as a tree.", _status_arguments),
    "errors": Action(_errors, "Show what went wrong, and where.", lambda parser: _add_timeout(parser, "0.5s")),
    "lookup": Action(_lookup, "Show the hosts of ranks, or the ranks of hosts.", _target_argument),
    "parentof": Action(_parentof, "Show the parent of a broker.", _rank_argument),
    "disconnect": Action(_disconnect, "Send a broker away, with all below it.", _disconnect_arguments),
    "reparent": Action(_reparent, "Put a broker under another parent.", _reparent_arguments),
    "trace": Action(_trace, "Show messages between brokers as they pass.", _trace_arguments),
}
