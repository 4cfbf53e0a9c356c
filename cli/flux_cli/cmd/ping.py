"""`flux ping`: how long a service takes to answer (flux-ping(1))."""

from __future__ import annotations

import argparse
import time

from flux.errors import FluxError
from flux.message import NODEID_ANY, NODEID_UPSTREAM
from flux_cli.common import Parser, die, open_flux, parse_nodeid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.core.handle import Flux
    from flux.ring import RingRoute
    from flux.rpc import RPC


def command(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    if args.batch and not args.count:
        die("--batch needs --count: it prints after the last request is sent")
    with open_flux() as handle:
        nodeid, service = target(handle, args.target, args.rank)
        Pinger(handle, _way(handle, args, nodeid), args, nodeid, service).run()
    return 0


def _way(handle: Flux, args: argparse.Namespace, nodeid: int) -> Flux | RingRoute:
    """What sends the requests."""
    if not args.ring:
        return handle
    if nodeid >= NODEID_UPSTREAM:
        die("--ring goes to a rank: give one")
    from flux_cli.ring import open_ring

    return open_ring(handle)


def _parser() -> Parser:
    parser = Parser("ping", "Measure the round-trip time to a service.")
    parser.add_argument("target", metavar="TARGET", help="SERVICE, NODE or NODE!SERVICE")
    parser.add_argument("-r", "--rank", metavar="NODE", help="a rank, a host, any or upstream; default: any")
    parser.add_argument("-p", "--pad", type=_count, default=0, metavar="N", help="send and get back N bytes more")
    parser.add_argument("-i", "--interval", type=_seconds, default=1.0, metavar="N", help="seconds between requests")
    parser.add_argument("-c", "--count", type=_count, default=0, metavar="N", help="stop after N; default: never")
    parser.add_argument("-b", "--batch", action="store_true", help="print when all requests are sent")
    parser.add_argument("--ring", action="store_true", help="go from rank to rank by the ring, past a broken tree")
    parser.add_argument("-u", "--userid", action="store_true", help="show the userid and roles of the requests")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is no number of 0 or more")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is no number of seconds")
    return seconds


def target(handle: Flux, text: str, node: str | None) -> tuple[int, str]:
    """Node id and service that a TARGET means.

    Raises:
        CommandError: the node is given twice, or is none.
    """
    head, mark, service = text.partition("!")
    if mark:
        if node is not None:
            die(f"the rank is given twice: by --rank and in '{text}'")
        return _nodeid(handle, head), service or "broker"
    if node is not None:
        if text.isdecimal():
            die(f"the rank is given twice: by --rank and in '{text}'")
        return _nodeid(handle, node), text
    if text.isdecimal() or text in ("any", "upstream") or text in _hosts(handle):
        return _nodeid(handle, text), "broker"
    return NODEID_ANY, text


def _nodeid(handle: Flux, text: str) -> int:
    """The rank, special name or host (of which the first rank counts) that a text means."""
    hosts = [] if text.isdecimal() else _hosts(handle)
    if text in hosts:
        return hosts.index(text)
    try:
        return parse_nodeid(text)
    except argparse.ArgumentTypeError:
        die(f"'{text}' is no rank: a number, a host of the instance, any or upstream is")


def _hosts(handle: Flux) -> list[str]:
    from flux.hostlist import Hostlist

    return list(Hostlist(handle.attr_get("hostlist")))


class Pinger:
    """Sends pings and prints their answers, each when its time has come."""

    def __init__(
        self, handle: Flux, way: Flux | RingRoute, args: argparse.Namespace, nodeid: int, service: str
    ) -> None:
        self.handle, self.way = handle, way
        self.args = args
        self.nodeid = nodeid
        self.topic = f"{service}.ping"
        self.label = self.topic if args.rank is None and nodeid == NODEID_ANY else f"{_node(nodeid)}!{self.topic}"
        self.padding = "p" * args.pad
        self.sent = 0
        self.batch: list[RPC] = []

    def run(self) -> None:
        self._send()
        self.handle.reactor_run()

    def _send(self) -> None:
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        seconds, nanoseconds = divmod(now, 1_000_000_000)
        payload = {"seq": self.sent, "time.tv_sec": seconds, "time.tv_nsec": nanoseconds, "pad": self.padding}
        rpc = self.way.rpc(self.topic, payload, nodeid=self.nodeid)
        self.sent += 1
        if self.args.batch:
            self.batch.append(rpc)
        else:
            rpc.then(self._answered)
        self._next()

    def _next(self) -> None:
        if self.args.count and self.sent >= self.args.count:
            for rpc in self.batch:
                rpc.then(self._answered)
        elif self.args.interval:
            timer = self.handle.timer_watcher_create(self.args.interval, lambda *_: self._send())
            timer.start()
        else:
            self.handle.call_soon(self._send)

    def _answered(self, rpc: RPC) -> None:
        try:
            answer = rpc.get()
        except FluxError as exc:
            die(f"{self.label}: {exc}")
        print(self._line(answer), flush=True)

    def _line(self, answer: dict[str, Any]) -> str:
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        taken = now - answer["time.tv_sec"] * 1_000_000_000 - answer["time.tv_nsec"]
        user = f" userid={answer['userid']} rolemask={answer['rolemask']:#x}" if self.args.userid else ""
        return (
            f"{self.label} pad={len(answer['pad'])}{user} seq={answer['seq']} "
            f"time={taken / 1e6:.3f} ms ({answer['route']})"
        )


def _node(nodeid: int) -> str:
    names = {NODEID_ANY: "any", NODEID_UPSTREAM: "upstream"}
    return names.get(nodeid, str(nodeid))
