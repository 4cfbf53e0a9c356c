"""`flux shutdown`: end an instance in good order (flux-shutdown(1))."""

from __future__ import annotations

import errno

from flux.errors import FluxError
from flux_cli.common import Parser, die, open_flux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.core.handle import Flux

WARNING, INFO, DEBUG = 4, 6, 7


def command(argv: list[str]) -> int:
    parser = Parser("shutdown", "Shut an instance down.")
    parser.add_argument("target", nargs="?", metavar="TARGET", help="URI of an instance, or a job (default: this one)")
    parser.add_argument("--background", action="store_true", help="do not wait for the end")
    parser.add_argument("--quiet", action="store_true", help="show warnings and errors alone")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="show every log message")
    args = parser.parse_args(argv)
    level = WARNING if args.quiet else DEBUG if args.verbose else INFO
    with open_flux(_uri(args.target)) as handle:
        if args.background:
            handle.rpc("shutdown.start", {"loglevel": level}, 0).get()
        else:
            _follow(handle, level)
    return 0


def _uri(target: str | None) -> str | None:
    if target is None:
        return None
    from flux_cli.uri import nearest, resolve

    return nearest(resolve(target))


def _follow(handle: Flux, level: int) -> None:
    from flux.constants import FLUX_RPC_STREAMING

    log = handle.rpc("shutdown.start", {"loglevel": level}, 0, FLUX_RPC_STREAMING)
    begun = False
    while True:
        try:
            print(log.get()["log"], flush=True)
        except FluxError as exc:
            if exc.errno == errno.ENODATA or (begun and exc.errno in _GONE):
                return
            die(str(exc))
        begun = True
        log.reset()


_GONE = (errno.ECONNRESET, errno.EPIPE, errno.EHOSTUNREACH)
