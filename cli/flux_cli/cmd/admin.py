"""`flux admin`: look after an instance (flux-admin(1))."""

from __future__ import annotations

import argparse
import sys

from flux.errors import FluxError
from flux_cli.common import Action, Parser, die, dispatch, open_flux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux_cli.system_scripts import System


def command(argv: list[str]) -> int:
    return dispatch("admin", "Look after an instance.", ACTIONS, argv)


def _push_arguments(parser: Parser) -> None:
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="COMMAND", help="default: commands from stdin, one a line"
    )


def _push(args: argparse.Namespace) -> int:
    commands = [" ".join(args.command)] if args.command else [line.strip() for line in sys.stdin]
    if not commands:
        die("commands array is empty: give a command, or several on stdin, one a line")
    if not all(commands):
        die("cannot push an empty command line")
    with open_flux() as handle:
        handle.rpc("runat.push", {"name": "cleanup", "commands": commands[::-1]}).get()
    return 0


def _scripts_arguments(parser: Parser) -> None:
    from flux_cli.message_trace import add_color

    parser.add_argument("-v", "--verbose", action="store_true", help="show scripts that nothing runs, too")
    add_color(parser)


def _system_scripts(args: argparse.Namespace) -> int:
    from flux_cli.message_trace import colored
    from flux_cli.system_scripts import KINDS, Report

    report = Report(_system(), args.verbose, colored(args.color))
    for kind in KINDS:
        report.show(kind)
    return 0


def _system() -> System:
    from flux_cli.system_scripts import look

    try:
        handle = open_flux()
    except FluxError:
        return look(None)  # the scripts are there without an instance, too
    with handle:
        return look(handle)


ACTIONS = {
    "cleanup-push": Action(_push, "run a command when the initial program has ended, before others", _push_arguments),
    "system-scripts": Action(_system_scripts, "show prolog, epilog and housekeeping scripts", _scripts_arguments),
}
