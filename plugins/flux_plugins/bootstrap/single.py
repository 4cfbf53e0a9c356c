"""Bootstrap of a broker that is alone: rank 0 of 1, always possible."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any, ClassVar

from flux.errors import FluxError
from flux.hooks.kernel import BootInfo, Bootstrap
from flux_plugins.bootstrap.hostname import fake_hostname

__all__ = ["SingleBootstrap"]


class SingleBootstrap(Bootstrap):
    """An instance of one broker needs nobody's help."""

    name: ClassVar[str] = "single"

    @classmethod
    def available(cls, environ: Mapping[str, str], conf: Mapping[str, Any]) -> bool:
        return True

    def open(self) -> BootInfo:
        return BootInfo(0, 1, attrs=fake_hostname(self.environ))

    def publish(self, card: dict[str, Any]) -> None:
        """Nobody reads it."""

    def barrier(self) -> None:
        """Everybody is here."""

    def lookup(self, rank: int) -> dict[str, Any]:
        raise FluxError(errno.ENOENT, f"there is no broker {rank}: this one runs alone")

    def finalize(self) -> None:
        """There is no launcher."""

    def abort(self, text: str) -> None:
        """There is no launcher."""
