"""`flux dump`: write a snapshot of the key-value store as a tar archive (flux-dump(1))."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, cast

from flux_cli.archive_progress import add_progress_options, progress
from flux_cli.cmd.kvs_get import positive
from flux_cli.common import Parser, die, open_flux, warn

if TYPE_CHECKING:
    from flux.core.handle import Flux

__all__ = ["command"]

_OTHER_FORMATS = (".zip", ".cpio", ".iso")


def _parser() -> Parser:
    parser = Parser("dump", "Write a snapshot of the key-value store as a tar archive.")
    add_progress_options(parser, "archived")
    parser.add_argument("--checkpoint", action="store_true", help="dump the newest checkpoint, not the present root")
    parser.add_argument("--no-cache", action="store_true", help="load from the backing store, not from the cache")
    parser.add_argument("--ignore-failed-read", action="store_true", help="pass over what cannot be loaded")
    parser.add_argument("--maxreqs", type=positive, metavar="N", default=4, help="requests under way (default 4)")
    parser.add_argument("outfile", metavar="OUTFILE", help="ends in .gz, .bz2 or .xz to be compressed; - is stdout")
    return parser


def command(argv: list[str]) -> int:
    from flux.kvs.archive import Dump

    args = _parser().parse_args(argv)
    with open_flux() as handle:
        rootref, mtime = _root(handle, args.checkpoint)
        with _output(args.outfile) as out:
            failed = _pass_over if args.ignore_failed_read else None
            told = progress(handle, "dump", "archived", args)
            dump = Dump(handle, out, window=args.maxreqs, bypass_cache=args.no_cache, told=told, failed=failed)
            dump.write(rootref, mtime)
    if not args.quiet:
        warn("dump", f"archived {dump.count} keys")
    return 0


def _root(handle: Flux, from_checkpoint: bool) -> tuple[str, int]:
    """Root to dump, and its time."""
    if from_checkpoint:
        from flux.kvs.roots import checkpoints

        found = checkpoints(handle)
        if not found:
            die("there is no checkpoint")
        return found[0].rootref, int(found[0].timestamp)
    from flux.kvs import getroot

    return getroot(handle)["rootref"], int(time.time())


def _pass_over(key: str, error: OSError) -> None:
    warn("dump", f"{key or '.'}: {error.strerror}: passed over")


@contextmanager
def _output(path: str) -> Iterator[IO[bytes]]:
    """A stream to OUTFILE, which appears, or is replaced, when all is in it."""
    if path == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if os.path.exists(path) and not os.path.isfile(path):
        with _opener(path)(path, "wb") as out:
            yield out
        return
    part = f"{path}.part"
    try:
        with _opener(path)(part, "wb") as out:
            yield out
        os.replace(part, path)
    except BaseException:
        if os.path.exists(part):
            os.unlink(part)
        raise


def _opener(path: str) -> Callable[[str, str], IO[bytes]]:
    import importlib

    _, suffix = os.path.splitext(path)
    if suffix in _OTHER_FORMATS:
        die(f"{path}: archives of the kind {suffix} are not written: choose .tar, .tgz, .tar.bz2 or .tar.xz")
    modules = {".gz": "gzip", ".tgz": "gzip", ".bz2": "bz2", ".xz": "lzma"}
    name: Any = modules.get(suffix)
    return cast("Callable[[str, str], IO[bytes]]", importlib.import_module(name).open if name else open)
