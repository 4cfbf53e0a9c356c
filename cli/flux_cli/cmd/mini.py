"""`flux mini COMMAND`: the former spelling of flux run, flux submit and their like (flux-mini(1))."""

from __future__ import annotations

from flux_cli import lookup
from flux_cli.errors import UsageError

COMMANDS = ("run", "submit", "bulksubmit", "batch", "alloc")


def command(argv: list[str]) -> int:
    installed = [name for name in COMMANDS if name in lookup.installed()]
    if argv[:1] in (["-h"], ["--help"]):
        print("usage: flux mini COMMAND ...\n")
        print(f"The former spelling of `flux COMMAND`; COMMAND: {', '.join(installed)}.")
        return 0
    if not argv or argv[0] not in COMMANDS:
        raise UsageError(f"which command? One of {', '.join(installed)}", "usage: flux mini COMMAND ...")
    return lookup.find(argv[0]).run(argv[1:])
