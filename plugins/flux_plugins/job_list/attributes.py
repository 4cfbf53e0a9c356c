"""Names of job attributes (RFC 43)."""

from __future__ import annotations

import errno

from flux.errors import FluxError

__all__ = ["ATTRIBUTES", "expand"]

ATTRIBUTES = (
    "userid urgency priority t_submit t_depend t_priority t_sched t_run t_cleanup t_inactive state name cwd queue "
    "project bank ntasks ncores duration nnodes ranks nodelist success exception_occurred exception_type "
    "exception_severity exception_note result expiration annotations waitstatus dependencies"
).split()
"""In the order in which stock Flux lists them; `all` stands for all of them."""

_KNOWN = frozenset({*ATTRIBUTES, "id"})


def expand(attrs: list[str]) -> list[str]:
    """The attributes that a request names, `all` resolved. FluxError EINVAL names one that does not exist."""
    for attr in attrs:
        if attr not in _KNOWN and attr != "all":
            raise FluxError(errno.EINVAL, f"{attr} is not a valid attribute")
    return ATTRIBUTES if "all" in attrs else attrs
