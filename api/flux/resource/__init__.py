"""Resource sets: which nodes, cores and GPUs (manual page ``flux.resource``).

Names resolve on first use (see flux._lazy), so that importing this package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flux._lazy import install

_NAMES = {
    "ResourceSet": "ResourceSet",
    "ResourceSetImplementation": "ResourceSetImplementation",
    "Rlist": "Rlist",
}
"""Public name -> submodule that defines it."""

install(__name__, _NAMES)

if TYPE_CHECKING:
    from flux.resource.ResourceSet import ResourceSet as ResourceSet
    from flux.resource.ResourceSetImplementation import ResourceSetImplementation as ResourceSetImplementation
    from flux.resource.Rlist import Rlist as Rlist
