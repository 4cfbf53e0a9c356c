"""The events of the resource module (manual page ``flux.resource``; flux-resource(1), eventlog)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flux.abc import JournalConsumerBase, JournalEventBase

if TYPE_CHECKING:
    from flux.core.handle import Flux

__all__ = ["ResourceJournalConsumer", "ResourceJournalEvent"]


class ResourceJournalEvent(JournalEventBase):
    """An event: resource-define, online, offline, drain, undrain and others.

    Attributes:
        R: with `resource-define` (RFC 20), else None.
    """

    __slots__ = ("R",)

    def __init__(self, event: str | bytes | Mapping[str, Any], R: Any = None) -> None:
        super().__init__(event)
        self.R: dict[str, Any] | None = R if self.name == "resource-define" else None


class ResourceJournalConsumer(JournalConsumerBase[ResourceJournalEvent]):
    """Follows the resource module; see `flux.abc.JournalConsumerBase`. Instance owner only (EPERM)."""

    SENTINEL_EVENT = ResourceJournalEvent({"timestamp": 0.0, "name": ""})

    def __init__(self, flux_handle: Flux, since: float = 0.0, include_sentinel: bool = False) -> None:
        super().__init__(flux_handle, "resource.journal", since=since, include_sentinel=include_sentinel)

    def process_response(self, resp: Mapping[str, Any]) -> dict[str, Any]:
        return {"R": resp.get("R")}

    def create_event(self, entry: Mapping[str, Any], **kwargs: Any) -> ResourceJournalEvent:
        return ResourceJournalEvent(entry, **kwargs)
