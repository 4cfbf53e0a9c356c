"""What comes out of a composition: plugins to start (plugins.toml(5)).

Apart from the rest because a broker that finds its plan in the cache needs nothing else.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flux.discovery import Entry, load_entry
from flux.idset import IDset

STAGES = ("boot", "run")


class PlannedPlugin(msgspec.Struct, frozen=True):
    """A plugin to start.

    Attributes:
        name: the name it gets in this instance.
        options: arguments, already checked against the class's option type.
        ranks: "all" or an idset string.
        stage: "boot" (before the instance is joined) or "run".
        services: the service names it answers to, its own name first.
        command: the loader program that runs it, and its arguments; none for a class of ours.
        restart: {limit, delay} when it is to be started again after a failure; else {}.
    """

    name: str
    kind: str
    entry: Entry
    options: dict[str, Any]
    isolated: bool
    stage: str
    ranks: str
    services: tuple[str, ...]
    command: tuple[str, ...] = ()
    restart: dict[str, float] = {}

    def runs_on(self, rank: int) -> bool:
        return self.ranks == "all" or rank in IDset(self.ranks)

    def load(self) -> Any:
        """Import the plugin's class. Raises PluginError."""
        if self.command:
            from flux.module.foreign import Foreign

            return Foreign
        return load_entry(self.entry)[0]
