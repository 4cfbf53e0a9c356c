"""Which steps the tasks of a file and the modules they ask for come to, and in which order (flux-modprobe(1)). Pure."""

from __future__ import annotations

from flux import discovery
from flux.modprobe import ALL
from flux.startorder import start_order
from flux_cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from flux.modprobe import Task
    from flux_cli.module_graph import ModuleGraph

__all__ = ["Plan", "active_tasks"]


def active_tasks(
    tasks: Sequence[Task], is_on: Callable[[Task], bool], is_met: Callable[[str], bool], enabled: Collection[str] = ()
) -> list[Task]:
    """Those tasks that nothing speaks against.

    Args:
        is_on: says whether a task is on by itself. is_met: whether there is a module for a name or service.
        enabled: tasks that are on in any case.
    """
    on = [task for task in tasks if task.name in enabled or is_on(task)]
    while True:
        names = {word for task in on for word in (task.name, *task.provides)}
        left = [t for t in on if t.name in enabled or all(need in names or is_met(need) for need in t.needs)]
        if left == on:
            return on
        on = left


class Plan:
    """Steps: tasks to run, modules to load and to remove.

    Args:
        tasks: all of the file. active: those of them to run.
        loads, removals: names of modules, in any order.

    Attributes:
        after: the steps that each step comes after, by name, in the order in which they would be done one by one.

    Raises:
        CommandError: a name is not known, or is borne twice, or steps wait for each other.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        active: Sequence[Task],
        graph: ModuleGraph,
        loads: Iterable[str],
        removals: Iterable[str],
    ) -> None:
        self._graph = graph
        self._known = {word for task in tasks for word in (task.name, *task.provides)}
        self.tasks = {task.name: task for task in active}
        self.loads = dict.fromkeys(loads)
        self.removals = dict.fromkeys(removals)
        self._bearers: dict[str, list[str]] = {}
        for name, words in self._steps().items():
            for word in {name, *words}:
                self._bearers.setdefault(word, []).append(name)
        after: dict[str, set[str]] = {name: set() for name in self._steps()}
        for task in active:
            self._order_task(task, after)
        self._order_modules(after)
        self.after = self._in_order(after)

    def _steps(self) -> Mapping[str, Sequence[str]]:
        """The further names that each step bears, by its own."""
        modules = {name: self._graph.modules[name].services for name in (*self.loads, *self.removals)}
        if twice := modules.keys() & self.tasks.keys():
            raise CommandError(f"{min(twice)} is the name of a task and of a module")
        return modules | {name: task.provides for name, task in self.tasks.items()}

    def _order_task(self, task: Task, after: Mapping[str, set[str]]) -> None:
        for word in task.after:
            after[task.name].update(self._others(after, "after") if word == ALL else self._of(word, task))
        for word in task.before:
            for name in self._others(after, "before") if word == ALL else self._of(word, task):
                after[name].add(task.name)

    def _others(self, steps: Iterable[str], side: str) -> list[str]:
        """All steps but the tasks that are on that side of all others themselves."""
        return [name for name in steps if name not in self.tasks or ALL not in getattr(self.tasks[name], side)]

    def _of(self, word: str, task: Task) -> list[str]:
        """The steps that a word of a task means; none for a task that is left out and a module that stays as it is."""
        if word not in self._known and not self._graph.has(word):
            near = discovery.nearest(word, {*self._known, *self._graph.words()})
            hint = f", did you mean '{near}'?" if near else ""
            raise CommandError(f"task {task.name}: there is no task or module {word}{hint}")
        return self._bearers.get(word, [])

    def _order_modules(self, after: Mapping[str, set[str]]) -> None:
        """Modules come as the composition orders them, and go the other way round."""
        for first, then in self._graph.pairs():
            if first in self.loads and then in self.loads:
                after[then].add(first)
            if first in self.removals and then in self.removals:
                after[first].add(then)

    def _in_order(self, after: Mapping[str, set[str]]) -> dict[str, set[str]]:
        order, circles = start_order(list(after), after, {name: number for number, name in enumerate(after)})
        if circles:
            raise CommandError(f"these wait for each other: {' after '.join(circles[0])}")
        return {name: after[name] for name in order}
