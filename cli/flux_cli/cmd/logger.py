"""`flux logger`: append to the broker's log (flux-logger(1); entries are RFC 5424 text)."""

from __future__ import annotations

import os
import time

from flux_cli.common import Parser, open_flux

LEVELS = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")


def command(argv: list[str]) -> int:
    parser = Parser("logger", "Append an entry to the log of the broker.")
    parser.add_argument("message", nargs="+", metavar="MESSAGE", help="words are joined by a space")
    parser.add_argument("-s", "--severity", default="info", choices=LEVELS, metavar="SEVERITY", help=", ".join(LEVELS))
    parser.add_argument("-n", "--appname", default="logger", metavar="NAME", help="who says so; default: logger")
    args = parser.parse_intermixed_args(argv)
    if not args.appname or not all("!" <= letter <= "~" for letter in args.appname):
        parser.error(f"'{args.appname}' is no name: printable ASCII without spaces is")
    with open_flux() as handle:
        rank = handle.get_rank()
        for line in " ".join(args.message).splitlines() or [""]:
            entry = format_entry(LEVELS.index(args.severity), args.appname, rank, line)
            handle.rpc("log.append", entry.encode("utf-8", "replace")).get()
    return 0


def format_entry(level: int, name: str, rank: int, text: str) -> str:
    """An entry as the log service takes it.

    Args:
        level: syslog severity, 0 to 7.
    """
    now = time.time_ns()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 1_000_000_000))
    return f"<{level << 3}>1 {stamp}.{now // 1000 % 1_000_000:06d}Z {rank} {name} {os.getpid()} - - {text}"
