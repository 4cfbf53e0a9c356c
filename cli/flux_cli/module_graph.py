"""Which modules need which, by the composition of an instance (flux-modprobe(1), plugins.toml(5)).

The kernel loads what a composition enables and forgets why. Here the same declarations answer what else a module needs,
who needs it, and in which order modules come and go.
"""

from __future__ import annotations

import msgspec

from flux import discovery
from flux.startorder import start_order
from flux_cli.errors import CommandError
from flux_kernel import composition
from flux_kernel.composition_check import Checker, Declared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from flux.pluginsfile import Table

__all__ = ["ModuleGraph", "read_graph"]


def read_graph(path: str) -> ModuleGraph:
    """The modules that the composition in a file names, enabled or not.

    Raises:
        CommandError: the composition has mistakes.
    """
    installed = discovery.index()
    problems = composition.load_composition(path, installed=installed).check()
    if problems:
        raise CommandError("\n  ".join([f"{path} cannot be used:", *map(str, problems)]))
    named = {table.name: table for table in composition.tables(path) if table.kind == "modules"}
    checker = Checker([_as_enabled(table) for table in named.values()], installed)
    modules = {module.name: module for module in checker.declare()}
    if checker.problems:
        raise CommandError("\n  ".join([f"{path} cannot be used:", *map(str, checker.problems)]))
    return ModuleGraph(path, modules, {name for name, table in named.items() if table.enabled})


def _as_enabled(table: Table) -> Table:
    return msgspec.structs.replace(table, values={**table.values, "enabled": True})


class ModuleGraph:
    """Modules, and what binds them.

    Args:
        path: of the composition. modules: by name. enabled: names of those that it starts.

    Attributes:
        modules: the same.
    """

    def __init__(self, path: str, modules: Mapping[str, Declared], enabled: Collection[str]) -> None:
        self.path = path
        self.modules = dict(modules)
        self._enabled = set(enabled)
        self._chosen: dict[str, str] = {}

    def choose(self, service: str, name: str) -> None:
        """Let a module be the one that provides a service. CommandError when it does not."""
        if name not in self._providers(service):
            raise CommandError(f"no module {name} provides {service}")
        self._chosen[service] = name

    def disable(self, name: str) -> None:
        """Leave out what provides a module's name or a service, as if the composition did not start it."""
        self._enabled.difference_update(self._providers(name) or [self.find(name).name])

    def is_enabled(self, name: str) -> bool:
        return name in self._enabled

    def find(self, service: str) -> Declared:
        """The module of that name, or the one that provides that service: the chosen, the enabled or the first one.

        Raises:
            CommandError: there is none; the text suggests the nearest name.
        """
        if service in self.modules:
            return self.modules[service]
        providers = self._providers(service)
        if not providers:
            near = discovery.nearest(service, self.words())
            hint = f", did you mean '{near}'?" if near else ""
            raise CommandError(f"{self.path} names no module or service {service}{hint}")
        best = next((name for name in providers if name in self._enabled), providers[0])
        return self.modules[self._chosen.get(service, best)]

    def has(self, service: str) -> bool:
        """True when there is a module of that name, or one that provides that service."""
        return bool(self._providers(service)) or service in self.modules

    def words(self) -> set[str]:
        """The names of all modules and services."""
        return {word for module in self.modules.values() for word in (module.name, *module.services)}

    def _providers(self, service: str) -> list[str]:
        return [name for name, module in self.modules.items() if service in module.services]

    def needs(self, module: Declared) -> list[str]:
        """Names of modules and services that a module requires, those of transports left out."""
        return [service for service in dict.fromkeys(module.links["requires"]) if self._providers(service)]

    def with_needs(self, services: Iterable[str], loaded: Mapping[str, Collection[str]]) -> list[str]:
        """Modules to load for these to work, in start order.

        Args:
            loaded: the services of each module that is there already.
        """
        wanted: dict[str, None] = {}
        waiting = list(services)
        present = {word for name, words in loaded.items() for word in (name, *words)}
        while waiting:
            service = waiting.pop(0)
            module = self.find(service)
            if module.name in wanted or service in present:
                continue
            wanted[module.name] = None
            waiting += self.needs(module)
        return self.in_order(wanted)

    def users(self, name: str, loaded: Collection[str]) -> list[str]:
        """Which of the loaded modules require this one, or a service of it."""
        services = set(self.modules[name].services) if name in self.modules else {name}
        known = [self.modules[other] for other in loaded if other in self.modules and other != name]
        return sorted(module.name for module in known if services & set(module.links["requires"]))

    def removable(self, loaded: Iterable[str]) -> list[str]:
        """All that the composition names and the broker can do without."""
        return [name for name in loaded if name in self.modules and self.modules[name].stage == "run"]

    def loaded_name(self, word: str, loaded: Mapping[str, Collection[str]]) -> str:
        """The module to remove that a name or a service means.

        Raises:
            CommandError: none that is loaded, or one that the broker cannot do without.
        """
        name = word if word in loaded else next((name for name, services in loaded.items() if word in services), "")
        if not name:
            raise CommandError(f"module {word} is not loaded")
        if name in self.modules and self.modules[name].stage == "boot":
            raise CommandError(f"{name} is part of the broker, which cannot do without it")
        return name

    def without(self, names: Collection[str], loaded: Collection[str]) -> list[str]:
        """What to remove so that these go, in that order: also what was loaded for them alone.

        A module that the composition starts stays, needed or not: it was asked for by itself.

        Raises:
            CommandError: one is in use by a module that is to stay.
        """
        going = dict.fromkeys(names)
        for name in names:
            users = [user for user in self.users(name, loaded) if user not in going]
            if users:
                raise CommandError(f"{name} still in use by {', '.join(users)}")
        while idle := self._idle(going, loaded):
            going |= dict.fromkeys(idle)
        return self.in_order(going)[::-1]

    def _idle(self, going: Collection[str], loaded: Collection[str]) -> list[str]:
        """What the modules that go need, and nothing else does."""
        needed = {self.find(service).name for name in going if name in self.modules
                  for service in self.needs(self.modules[name])}  # fmt: skip
        rest = [name for name in loaded if name not in going]
        return [name for name in needed if name in rest and name not in self._enabled and not self.users(name, rest)]

    def in_order(self, names: Iterable[str]) -> list[str]:
        """Names in the order in which they start; those that the composition does not name last."""
        known = [name for name in names if name in self.modules]
        after: dict[str, set[str]] = {name: set() for name in self.modules}
        for first, then in self.pairs():
            after[then].add(first)
        rank = {name: number for number, name in enumerate(self.modules)}
        order, _circles = start_order(known, after, rank)
        return order + [name for name in names if name not in self.modules]

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Each two modules of which one is to start before the other, that one first."""
        for name, module in self.modules.items():
            for service in module.links["after"]:
                yield from ((other, name) for other in self._providers(service))
            for service in module.links["before"]:
                yield from ((name, other) for other in self._providers(service))
