"""`flux gc`: remove content that the key-value store no longer refers to (flux-gc(1))."""

from __future__ import annotations

from flux_cli.cmd.kvs_get import positive
from flux_cli.common import Parser, open_flux, warn

__all__ = ["command"]


def command(argv: list[str]) -> int:
    parser = Parser("gc", "Remove content that the key-value store no longer refers to.")
    parser.add_argument("--no-cache", action="store_true", help="load from the backing store, not from the cache")
    parser.add_argument("--maxreqs", type=positive, metavar="N", default=16, help="requests under way (default 16)")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell each step")
    args = parser.parse_args(argv)
    from flux.kvs.collect import collect

    with open_flux() as handle:
        done = collect(handle, args.maxreqs, args.no_cache, _tell if args.verbose else None)
    _tell(f"{done.marked} blobs are in use, removed {done.deleted}")
    return 0


def _tell(text: str) -> None:
    warn("gc", text)
