"""`flux restore`: read what flux-dump(1) wrote into the key-value store (flux-restore(1))."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from flux_cli.archive_progress import add_progress_options, progress
from flux_cli.cmd.kvs_get import positive
from flux_cli.common import Parser, die, open_flux, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

    from flux.core.handle import Flux

__all__ = ["command"]

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def _size(text: str) -> int:
    found = re.fullmatch(r"(\d+\.?\d*|\.\d+)([kmg]?)", text.lower())
    if found is None:
        raise argparse.ArgumentTypeError(f"'{text}' is no size, such as 4096, 1.5M or 100M")
    return int(float(found[1]) * _UNITS[found[2]])


def _parser() -> Parser:
    parser = Parser("restore", "Read a snapshot that flux dump wrote into the key-value store.")
    add_progress_options(parser, "restored")
    target = parser.add_mutually_exclusive_group()
    target.add_argument("--checkpoint", action="store_true", help="make it the root that the kvs module begins with")
    target.add_argument("--key", metavar="KEY", help="make it the directory KEY")
    parser.add_argument("--no-cache", action="store_true", help="store to the backing store, not to the cache")
    parser.add_argument("--size-limit", type=_size, metavar="SIZE", help="pass over values longer than SIZE bytes")
    parser.add_argument("--maxreqs", type=positive, metavar="N", default=16, help="requests under way (default 16)")
    parser.add_argument("infile", metavar="INFILE", help="- is standard input")
    return parser


def command(argv: list[str]) -> int:
    from flux.constants import FLUX_RPC_STREAMING

    args = _parser().parse_args(argv)
    if not args.checkpoint and not args.key:
        die("say where to: --checkpoint or --key=KEY")
    with open_flux() as handle:
        if args.checkpoint:
            _check_unloaded(handle)
        handle.rpc("content-gc.hold", {}, 0, FLUX_RPC_STREAMING)  # what is stored is not referred to before the end
        rootref = _read(handle, args)
        _put(handle, args.key, rootref)
    return 0


def _check_unloaded(handle: Flux) -> None:
    from flux.kvs.roots import kvs_is_loaded

    if kvs_is_loaded(handle):
        die("the kvs module would overwrite the checkpoint: unload it before using --checkpoint")


def _read(handle: Flux, args: argparse.Namespace) -> str:
    from flux.kvs.archive import Restore
    from flux.kvs.roots import maxdirent

    with _input(args.infile) as stream:
        restore = Restore(
            handle,
            stream,
            handle.attr_get("content.hash"),
            maxdirent(handle),
            window=args.maxreqs,
            bypass_cache=args.no_cache,
            size_limit=args.size_limit,
            told=progress(handle, "restore", "restored", args),
            skipped=_skipped,
        )
        rootref = restore.read()
    if not args.quiet:
        where = f"key '{args.key}'" if args.key else "a checkpoint"
        warn("restore", f"restored {restore.count} keys ({restore.blobs} blobs) as {rootref} to {where}")
    return rootref


def _put(handle: Flux, key: str | None, rootref: str) -> None:
    from flux.kvs import KVSTxn, commit, treeobj
    from flux.kvs.roots import put_checkpoint

    if key is None:
        put_checkpoint(handle, rootref)
    else:
        commit(handle, txn=KVSTxn().put_treeobj(key, treeobj.dirref(rootref)))


def _skipped(key: str, size: int) -> None:
    warn("restore", f"{key}: {size} bytes are more than --size-limit: passed over")


@contextmanager
def _input(path: str) -> Iterator[IO[bytes]]:
    if path == "-":
        yield sys.stdin.buffer
        return
    with open(path, "rb") as stream:
        yield stream
