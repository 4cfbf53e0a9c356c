"""How far flux-dump(1) and flux-restore(1) are, told while they run."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from flux_cli.common import Parser, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.core.handle import Flux

__all__ = ["add_progress_options", "progress"]

_PERIOD = 1.0
_KEYS_BETWEEN_LOOKS = 256


def add_progress_options(parser: Parser, doing: str) -> None:
    parser.add_argument("-v", "--verbose", action="store_true", help=f"list keys on stderr as they are {doing}")
    parser.add_argument("-q", "--quiet", action="store_true", help="do not say how many keys there were")
    parser.add_argument("--sd-notify", action="store_true", help="tell the broker's supervisor, such as systemd")


def progress(handle: Flux, name: str, doing: str, args: argparse.Namespace) -> Callable[[str], None] | None:
    """What to call with each key that is done, None when nobody wants to know.

    Args:
        name: of the command. doing: such as "archived". args: with the options of `add_progress_options`.
    """
    tellers: list[Callable[[str], None]] = []
    if args.verbose:
        tellers.append(lambda key: print(key.replace(".", "/"), file=sys.stderr))
    if args.sd_notify:
        tellers.append(_Counter(lambda text: handle.notify("state-machine.sd-notify", {"status": text}), name, doing))
    elif not (args.verbose or args.quiet) and sys.stderr.isatty():
        tellers.append(_Counter(lambda text: warn(name, text), "", doing))
    if len(tellers) < 2:
        return tellers[0] if tellers else None
    return lambda key: [tell(key) for tell in tellers] and None


class _Counter:
    """Tells now and then how many keys there were."""

    def __init__(self, tell: Callable[[str], None], name: str, doing: str) -> None:
        self._tell = tell
        self._text = f"flux-{name}: {doing}" if name else doing
        self._count = 0
        self._next = time.monotonic() + _PERIOD

    def __call__(self, _key: str) -> None:
        self._count += 1
        if self._count % _KEYS_BETWEEN_LOOKS == 0 and (now := time.monotonic()) >= self._next:
            self._next = now + _PERIOD
            self._tell(f"{self._text} {self._count} keys")
