"""`flux event`: publish and watch events (flux-event(1))."""

from __future__ import annotations

import argparse
import sys

from flux_cli.common import Action, Parser, dispatch, open_flux, parse_json_object, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.message import Message

LOST = "event.lost"


def command(argv: list[str]) -> int:
    return dispatch("event", "Publish events, or print them as they come.", ACTIONS, argv)


def _pub_arguments(parser: Parser) -> None:
    parser.add_argument("topic", metavar="TOPIC")
    parser.add_argument("payload", nargs="*", metavar="PAYLOAD", help="a JSON object; words are joined by a space")
    parser.add_argument("-r", "--raw", action="store_true", help="take the payload as it is, without a meaning")
    parser.add_argument("-l", "--loopback", action="store_true", help="wait until the event has come back")
    parser.add_argument("-s", "--synchronous", action="store_true", help="wait for the event's sequence number")
    parser.add_argument("-p", "--private", action="store_true", help="only for the instance owner and this user")


def _pub(args: argparse.Namespace) -> int:
    payload = _payload(" ".join(args.payload), args.raw) if args.payload else None
    with open_flux() as handle:
        if args.loopback:
            handle.event_subscribe(args.topic)
        if args.synchronous:
            print(f"seq={handle.event_publish(args.topic, payload, args.private)}")
        else:
            handle.event_send(args.topic, payload, args.private)
        while args.loopback and handle.event_recv(args.topic).topic != args.topic:
            pass
    return 0


def _payload(text: str, raw: bool) -> Any:
    return text.encode("utf-8", "surrogateescape") if raw else parse_json_object(text)


def _sub_arguments(parser: Parser) -> None:
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help="what the topic begins with; default: all events")
    parser.add_argument("-c", "--count", type=_count, default=0, metavar="N", help="stop after N events; 0: never")
    parser.add_argument("-r", "--raw", action="store_true", help="print payloads byte by byte, also if not JSON")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is no number of 0 or more")
    return int(text)


def _sub(args: argparse.Namespace) -> int:
    with open_flux() as handle:
        for topic in args.topics or [""]:
            handle.event_subscribe(topic)
        left = args.count
        while True:
            event = handle.event_recv()
            if event.topic == LOST:
                _tell_lost(event.payload)
                continue
            _show(event, args.raw)
            left -= 1
            if left == 0:
                return 0


def _tell_lost(lost: dict[str, int]) -> None:
    count, first, last = lost["count"], lost["first"], lost["last"]
    warn("event", f"too slow: {count} events with sequence numbers from {first} to {last} were lost")


def _show(event: Message, raw: bool) -> None:
    line = event.topic.encode() + b"\t" + (_raw_bytes(event) if raw else _readable(event).encode())
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def _raw_bytes(event: Message) -> bytes:
    return (event.raw or b"").removesuffix(b"\0")


def _readable(event: Message) -> str:
    """The payload as text; what is no text with its bytes escaped, so that a line stays a line."""
    text = _raw_bytes(event).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


ACTIONS = {
    "pub": Action(_pub, "publish an event", _pub_arguments),
    "sub": Action(_sub, "print events as they come", _sub_arguments),
}
