"""Places where a fault may be put in, for tests: at each write of the store and at each hand-off to the next part.

    failpoint("sqlite.store")

does nothing at all unless FLUX_FAILPOINT is set when the process starts: see `flux.testing.failpoints`, which a
distribution may leave out.
"""

from __future__ import annotations

import os

__all__ = ["failpoint"]

if os.environ.get("FLUX_FAILPOINT"):
    from flux.testing.failpoints import failpoint
else:

    def failpoint(name: str) -> None:
        """The program gets to the place of that name. FluxError when a test wants one."""
