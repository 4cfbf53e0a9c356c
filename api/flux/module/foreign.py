"""What stands for a module whose class is not known: a loader program of somebody else runs it (RFC 5)."""

from __future__ import annotations

from flux.module.base import Module

__all__ = ["Foreign"]


class Foreign(Module):
    """Any module; when it is reloaded it is stopped before its successor starts."""

    def stop(self) -> None:
        """Unknown."""
