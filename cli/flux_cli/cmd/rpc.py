"""`flux rpc`: send one request and print what comes back (flux-rpc(1), RFC 6)."""

from __future__ import annotations

import argparse
import sys
from errno import ENODATA

from flux.message import FLAG_STREAMING, NODEID_ANY
from flux_cli.common import Parser, open_flux, parse_duration, parse_json_object, parse_nodeid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.rpc import RPC


def command(argv: list[str]) -> int:
    args = _parser().parse_intermixed_args(argv)
    payload = _payload(args)
    with open_flux() as handle:
        if args.noresponse:
            handle.notify(args.topic, payload, nodeid=args.rank)
            return 0
        flags = FLAG_STREAMING if args.streaming else 0
        _print_responses(handle.rpc(args.topic, payload, args.rank, flags), args)
    return 0


def _parser() -> Parser:
    parser = Parser("rpc", "Send a request to a service and print the response.")
    parser.add_argument("topic", metavar="TOPIC", help="SERVICE.METHOD")
    parser.add_argument("payload", nargs="?", metavar="JSON", help="a JSON object; - reads it from standard input")
    parser.add_argument(
        "-r", "--rank", type=parse_nodeid, default=NODEID_ANY, metavar="N", help="a rank, any or upstream"
    )
    parser.add_argument("-n", "--noresponse", action="store_true", help="do not ask for a response")
    parser.add_argument("-s", "--streaming", action="store_true", help="print responses, one a line, until they end")
    parser.add_argument(
        "-t", "--timeout", type=parse_duration, default=-1.0, metavar="FSD", help="longest wait for each"
    )
    parser.add_argument("-R", "--raw", action="store_true", help="send and print payloads that are no JSON as they are")
    return parser


def _payload(args: argparse.Namespace) -> Any:
    if args.payload is None:
        return None
    text = sys.stdin.read() if args.payload == "-" else args.payload
    return text.encode("utf-8", "surrogateescape") if args.raw else parse_json_object(text)


def _print_responses(rpc: RPC, args: argparse.Namespace) -> None:
    while True:
        try:
            rpc.wait_for(args.timeout)
            _print(rpc, args.raw)
        except OSError as exc:
            if args.streaming and exc.errno == ENODATA:
                return
            raise
        if not args.streaming:
            return
        rpc.reset()


def _print(rpc: RPC, raw: bool) -> None:
    if raw:
        sys.stdout.buffer.write(rpc.get_raw())
        sys.stdout.buffer.flush()
    else:
        text = rpc.get_str()
        if text is not None:
            print(text, flush=True)
