"""`flux content`: load and store blobs by content address (flux-content(1), RFC 10)."""

from __future__ import annotations

import argparse
import sys

from flux_cli.common import Action, Parser, die, dispatch, open_flux
from flux_cli.content_checkpoint import ACTIONS as CHECKPOINTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.core.handle import Flux

__all__ = ["command"]


_CHECKPOINT = "List and update the roots of the key-value store that are on record."


def command(argv: list[str]) -> int:
    if argv and argv[0] == "checkpoint":
        return dispatch("content checkpoint", _CHECKPOINT, CHECKPOINTS, argv[1:])
    return dispatch("content", "Load and store blobs by content address.", ACTIONS, argv)


def _add_bypass(parser: Parser) -> None:
    parser.add_argument("-b", "--bypass-cache", action="store_true", help="use the backing store on rank 0 directly")


def _load_arguments(parser: Parser) -> None:
    _add_bypass(parser)
    parser.add_argument("blobrefs", metavar="BLOBREF", nargs="*", help="default: one on each line of standard input")


def _load(args: argparse.Namespace) -> int:
    from flux.content import digest_of

    blobrefs = args.blobrefs or [line.strip() for line in sys.stdin]
    if not blobrefs:
        die("no blobrefs were specified: give some as arguments, or one on each line of standard input")
    with open_flux() as handle:
        for blobref in blobrefs:
            blob = _load_one(handle, blobref, digest_of(blobref), args.bypass_cache)
            sys.stdout.buffer.write(blob)
    return 0


def _load_one(handle: Flux, blobref: str, digest: bytes, bypass_cache: bool) -> bytes:
    from flux.content import load_async

    try:
        return load_async(handle, digest, bypass_cache).get()
    except OSError as exc:
        sys.stdout.buffer.flush()
        die(f"{blobref}: {exc.strerror}")


def _size(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is no number of bytes")
    return int(text)


def _store_arguments(parser: Parser) -> None:
    _add_bypass(parser)
    parser.add_argument("--chunksize", metavar="N", type=_size, default=0, help="store blobs of at most N bytes")


def _store(args: argparse.Namespace) -> int:
    from flux.content import BLOB_MAX, ref_of, store_async

    size = min(args.chunksize, BLOB_MAX)
    with open_flux() as handle:
        hash_name = handle.attr_get("content.hash")
        chunk = sys.stdin.buffer.read(size or -1)
        while True:
            print(ref_of(store_async(handle, chunk, args.bypass_cache).get(), hash_name))
            if not size or not (chunk := sys.stdin.buffer.read(size)):
                return 0


def _flush(args: argparse.Namespace) -> int:
    with open_flux() as handle:
        handle.rpc("content.flush").get()
    return 0


def _dropcache(args: argparse.Namespace) -> int:
    with open_flux() as handle:
        handle.rpc("content.dropcache").get()
    return 0


ACTIONS = {
    "load": Action(_load, "write blobs to standard output", _load_arguments),
    "store": Action(_store, "store standard input, print the blobref", _store_arguments),
    "flush": Action(_flush, "wait until the backing store has all blobs of the cache"),
    "dropcache": Action(_dropcache, "drop what can be loaded again from the cache"),
    "checkpoint": Action(lambda _args: 0, _CHECKPOINT),
}
