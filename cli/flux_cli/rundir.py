"""The run directory of the brokers that `flux start -s N` starts (flux-start(1), flux-broker-attributes(7))."""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile

from flux_cli.broker import BrokerUsageError

__all__ = ["Rundir"]


class Rundir:
    """The instance's run directory, removed at the end unless it was there before.

    Args:
        cleanup: of the attribute rundir-cleanup: "1" removes it in any case, "0" never, "" as said above.
    """

    def __init__(self, args: argparse.Namespace, cleanup: str) -> None:
        self.args = args
        self.given = args.test_rundir or args.rundir
        if cleanup not in ("", "0", "1"):
            raise BrokerUsageError(f"rundir-cleanup is 0 or 1, not {cleanup!r}")
        self.always, self.never = args.test_rundir_cleanup or cleanup == "1", cleanup == "0"
        self.made = not self.given

    def __enter__(self) -> str:
        if self.given and not os.path.isdir(self.given):
            self._make()
        self.path = self.given or tempfile.mkdtemp(prefix="flux-")
        return str(os.path.abspath(self.path))

    def _make(self) -> None:
        if self.given != self.args.rundir:
            raise BrokerUsageError(f"--test-rundir: {self.given} is no directory")
        try:
            os.makedirs(self.given, 0o700)
        except OSError as exc:
            raise BrokerUsageError(f"--rundir: {self.given}: {exc.strerror}") from None
        self.made = True

    def __exit__(self, *_exc: object) -> None:
        if self.always or (self.made and not self.never):
            shutil.rmtree(self.path, ignore_errors=True)
