"""Which PMI a process was started with, and a client of it (RFC 13)."""

from __future__ import annotations

import os
from collections.abc import Mapping

from flux.pmi.client import PMIClient

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.pmi.library import LibraryClient

__all__ = ["LIBRARIES", "connect", "has_pmi", "library_of"]

_LAUNCHERS = ("SLURM_STEP_ID", "PALS_RANKID", "ALPS_APP_PE")
LIBRARIES = ("libpmi.so", "libpmi.so.0")
"""Names that the linker may know a launcher's library by; without its development files only the second."""


def has_pmi(environ: Mapping[str, str]) -> bool:
    """True for the process of a parallel program whose launcher speaks PMI-1."""
    return "PMI_FD" in environ or "PMI_PORT" in environ or library_of(environ) is not None


def library_of(environ: Mapping[str, str]) -> str | None:
    """The PMI library to use; None when there is none, or no sign of a launcher that it could talk to."""
    named = environ.get("FLUX_PMI_LIBRARY_PATH")
    if named or not any(name in environ for name in _LAUNCHERS):
        return named
    from flux.pmi.library import is_loadable

    return next(filter(is_loadable, LIBRARIES), None)


def connect(environ: Mapping[str, str] = os.environ) -> PMIClient | LibraryClient:
    """A client of the server that the environment names, or else of the launcher's library; its init() comes first.

    Errors: those of `PMIClient.from_env`, `PMIClient.from_port` and `LibraryClient`.
    """
    if "PMI_FD" in environ:
        return PMIClient.from_env(environ)
    if "PMI_PORT" in environ:
        return PMIClient.from_port(environ)
    from flux.pmi.library import LibraryClient

    return LibraryClient(library_of(environ) or LIBRARIES[0])
