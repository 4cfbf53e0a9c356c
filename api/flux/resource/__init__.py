"""Resource sets: which nodes, cores and GPUs (manual page ``flux.resource``).

Names resolve on first use (see flux._lazy), so that importing this package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flux._lazy import install

_NAMES = {
    "InfeasibleRequest": "ResourcePool",
    "InsufficientResources": "ResourcePool",
    "ResourcePool": "ResourcePool",
    "ResourceJournalConsumer": "journal",
    "ResourceSet": "ResourceSet",
    "ResourceSetImplementation": "ResourceSetImplementation",
    "ResourceStatus": "status",
    "Rlist": "Rlist",
    "SchedResourceList": "list",
    "resource_list": "list",
    "resource_status": "status",
}
"""Public name -> submodule that defines it."""

install(__name__, _NAMES)

if TYPE_CHECKING:
    from flux.resource.journal import ResourceJournalConsumer as ResourceJournalConsumer
    from flux.resource.list import SchedResourceList as SchedResourceList
    from flux.resource.list import resource_list as resource_list
    from flux.resource.ResourcePool import InfeasibleRequest as InfeasibleRequest
    from flux.resource.ResourcePool import InsufficientResources as InsufficientResources
    from flux.resource.ResourcePool import ResourcePool as ResourcePool
    from flux.resource.ResourceSet import ResourceSet as ResourceSet
    from flux.resource.ResourceSetImplementation import ResourceSetImplementation as ResourceSetImplementation
    from flux.resource.Rlist import Rlist as Rlist
    from flux.resource.status import ResourceStatus as ResourceStatus
    from flux.resource.status import resource_status as resource_status
