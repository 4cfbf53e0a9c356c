"""`flux content checkpoint`: the roots of the key-value store that are on record (flux-content(1))."""

from __future__ import annotations

import argparse
import time

from flux_cli.common import Action, Parser, die, open_flux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["ACTIONS"]


def _list_arguments(parser: Parser) -> None:
    parser.add_argument("-n", "--no-header", action="store_true", help="leave out the line of headings")
    parser.add_argument("-j", "--json", action="store_true", help="print each checkpoint as a JSON object on a line")


def _list(args: argparse.Namespace) -> int:
    with open_flux() as handle:
        found = handle.rpc("content.checkpoint-get", nodeid=0).get()["value"]
    if args.json:
        import msgspec

        for checkpoint in found:
            print(msgspec.json.encode(checkpoint).decode())
        return 0
    if not args.no_header:
        print(_row("Index", "Sequence", "Time", "Rootref"))
    for index, checkpoint in enumerate(found):
        print(_row(index, checkpoint.get("sequence", 0), _date(checkpoint), checkpoint["rootref"]))
    return 0


def _row(*cells: object) -> str:
    return "{:<10} {:<10} {:<20} {}".format(*cells)


def _date(checkpoint: dict[str, Any]) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(checkpoint.get("timestamp", 0)))


def _update_arguments(parser: Parser) -> None:
    parser.add_argument("blobref", metavar="BLOBREF", help="of a directory of the key-value store")


def _update(args: argparse.Namespace) -> int:
    from flux.content import digest_of
    from flux.kvs.roots import put_checkpoint

    with open_flux() as handle:
        modules = handle.rpc("module.list").get()["mods"]
        if any(module["name"] == "kvs" for module in modules):
            die("unload the kvs module first: it would put its own root on record after this one")
        digest_of(args.blobref)
        put_checkpoint(handle, args.blobref)
    return 0


ACTIONS = {
    "list": Action(_list, "list the checkpoints, newest first", _list_arguments),
    "update": Action(_update, "put another root on record", _update_arguments),
}
