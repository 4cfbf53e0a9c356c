"""Check the jobspec itself (RFC 14, RFC 25)."""

from __future__ import annotations

import argparse

from flux.cli.plugin import registry
from flux.job.Jobspec import validate_jobspec
from flux.job.validator import ValidatorJobInfo, ValidatorPlugin

__all__ = ["JobspecValidator"]


class JobspecValidator(ValidatorPlugin):
    """A jobspec is well formed, of the version required, and good for the plugins of the commands that submit"""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--require-version", metavar="V", default="1", help="the jobspec version that is taken (1), or any"
        )

    def configure(self, args: argparse.Namespace) -> None:
        if args.require_version != "any" and not args.require_version.isdecimal():
            raise ValueError(f"--require-version: expected a number or any, not '{args.require_version}'")
        self._version = None if args.require_version == "any" else int(args.require_version)
        if self._version not in (None, 1):
            raise ValueError(f"--require-version: there is version 1, not {self._version}")
        self._plugins = registry("validate")

    def validate(self, job: ValidatorJobInfo) -> None:
        _, jobspec = validate_jobspec(job.jobspec, require_version=self._version)
        if self._plugins is not None:
            self._plugins.validate(jobspec)
