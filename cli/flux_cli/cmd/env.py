"""`flux env`: the environment that sub-commands get (flux-env(1))."""

from __future__ import annotations

import os

from flux_cli.errors import CommandError


def command(argv: list[str]) -> int:
    """Show what `flux` has set up, or hand over to env(1), which inherits it."""
    if argv[:1] in (["-h"], ["--help"]):
        return _help()
    if not argv:
        return _show()
    try:
        os.execvp("env", ["env", *argv])
    except OSError as exc:
        raise CommandError(f"env: {exc.strerror}", 127) from None


def _show() -> int:
    import shlex

    from flux_cli.environment import VARIABLES

    for name in VARIABLES:
        if name in os.environ:
            print(f"export {name}={shlex.quote(os.environ[name])}")
    return 0


def _help() -> int:
    from flux_cli.common import Parser

    parser = Parser("env", "Print the environment of sub-commands, or run a command in it, as env(1) does.")
    parser.add_argument("command", nargs="*", metavar="[NAME=VALUE ...] [COMMAND ...]")
    parser.print_help()
    return 0
