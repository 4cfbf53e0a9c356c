"""`flux setattr`: set or remove a broker attribute (flux-setattr(1))."""

from __future__ import annotations

import argparse

from flux.errors import FluxError
from flux_cli.common import Parser, die, open_flux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def command(argv: list[str]) -> int:
    parser = Parser("setattr", "Set or remove a broker attribute.")
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("value", metavar="VALUE", nargs="?")
    parser.add_argument("-e", "--expunge", action="store_true", help="remove the attribute")
    parser.add_argument("-f", "--force", action="store_true", help="set it even if it cannot be updated while running")
    args = parser.parse_args(argv)
    if args.expunge == (args.value is not None):
        parser.error("give either NAME and VALUE, or --expunge and NAME")
    topic, payload = _request(args)
    with open_flux() as handle:
        try:
            handle.rpc(topic, payload).get()
        except FluxError as exc:
            die(f"{args.name}: {exc}")
    return 0


def _request(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    if args.expunge:
        return "attr.rm", {"name": args.name}
    payload = {"name": args.name, "value": args.value}
    return "attr.set", {**payload, "force": True} if args.force else payload
