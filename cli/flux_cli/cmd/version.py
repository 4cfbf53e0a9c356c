"""`flux version`: which versions are at work (flux-version(1))."""

from __future__ import annotations

import os

from flux_cli.lookup import BUILTIN_DIST, installed


def command(argv: list[str]) -> int:
    if argv:  # without, nothing is imported to read no arguments with
        from flux_cli.common import Parser

        Parser("version", "Print the versions of Flux and of the broker.").parse_args(argv)
    print(f"commands:  {own_version()}")
    uri = os.environ.get("FLUX_URI")
    if uri:
        from flux_cli.common import open_flux

        with open_flux() as handle:
            print(f"broker:    {handle.attr_get('version')}")
        print(f"FLUX_URI:  {uri}")
    return 0


def own_version() -> str:
    """Name and version of the distribution that these commands come from."""
    versions = {command.version for command in installed().values() if command.dist == BUILTIN_DIST}
    return " ".join([BUILTIN_DIST, *versions])
