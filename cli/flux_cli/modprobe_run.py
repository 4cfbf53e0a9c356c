"""`flux modprobe run`: the tasks of a file, and the modules they ask for, each in its turn (flux-modprobe(1))."""

from __future__ import annotations

import os
import traceback
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter

from flux.importer import import_path
from flux.modprobe import Context, Task
from flux_cli.common import die, warn
from flux_cli.module_steps import load_module, loaded_modules, module_words, remove_module
from flux_cli.task_plan import Plan, active_tasks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from types import ModuleType

    from flux_cli.module_graph import ModuleGraph

__all__ = ["TaskFile", "execute"]


class TaskFile:
    """A file of tasks, read and set up on the broker that the command is connected to.

    Args:
        disabled: names of tasks and modules to leave out.

    Attributes:
        plan: what there is to do.

    Raises:
        CommandError: there is no such file, or it asks for what there is not. FluxError: it cannot be imported, or the
            broker refuses something.
    """

    def __init__(self, path: str, graph: ModuleGraph, context: Context, disabled: Collection[str]) -> None:
        if not os.path.isfile(path):
            die(f"{path}: there is no such file")
        module = import_path(path)
        self._graph = graph
        self._context = context
        self._tasks = _tasks_of(module, path)
        self._known = {word for task in self._tasks for word in (task.name, *task.provides)}
        setup = getattr(module, "setup", None)
        if callable(setup):
            setup(context)
        for service, name in context.alternatives.items():
            graph.choose(service, name)
        if strange := next((name for name in context.enabled if not (name in self._known or graph.has(name))), ""):
            die(f"enable: there is no task or module {strange}")
        self._off = {name for name in disabled if name in self._known}
        self._out = self._left_out(set(disabled) - self._off)
        self._loaded = loaded_modules(context.handle)
        self.plan = self._make_plan()

    def _left_out(self, disabled: Collection[str]) -> set[str]:
        """Names of modules not to load, whoever asks for them."""
        for name in disabled:
            self._graph.disable(name)
        return {self._graph.find(name).name for name in disabled} - self._context.enabled

    def _make_plan(self) -> Plan:
        context, graph = self._context, self._graph
        active = active_tasks(self._tasks, self._is_on, self._is_met, context.enabled)
        required = [word for task in active for word in task.requires if word not in self._known]
        wanted = {graph.find(word).name for word in (*context.modules, *required)} - self._out
        loads = [name for name in graph.with_needs(wanted, self._loaded) if self._is_here(name)]
        words = graph.removable(self._loaded) if context.removals is None else context.removals
        removals = graph.without([graph.loaded_name(word, self._loaded) for word in words], self._loaded)
        return Plan(self._tasks, active, graph, loads, removals)

    def _is_on(self, task: Task) -> bool:
        return not self._off & {task.name, *task.provides} and task.applies(self._context)

    def _is_met(self, word: str) -> bool:
        """True when a module that tasks need is there, or will be."""
        if not self._graph.has(word):
            return False
        name = self._graph.find(word).name
        asked = {self._graph.find(module).name for module in self._context.modules}
        return name not in self._out and (name in self._loaded or name in asked or self._graph.is_enabled(name))

    def _is_here(self, name: str) -> bool:
        """True when a module may be loaded, and is for this broker."""
        on_rank = self._context.rank in self._graph.modules[name].rank_set
        return name not in self._out and (on_rank or name in self._context.enabled)

    # -- one step

    def title(self, name: str) -> str:
        """What a step is, for a person."""
        if name in self.plan.tasks:
            return f"run {name}"
        if name in self.plan.removals:
            return f"remove {name}"
        return " ".join(["load", name, *self._words(name)])

    def do(self, name: str) -> None:
        """Do a step."""
        self._context.print(self.title(name))
        if name in self.plan.tasks:
            self.plan.tasks[name].function(self._context)
        elif name in self.plan.removals:
            remove_module(self._context.handle, name)
        else:
            load_module(self._context.handle, self._graph.modules[name], self._words(name))

    def _words(self, name: str) -> list[str]:
        module = self._graph.modules[name]
        options = self._context.options(list(dict.fromkeys([name, *module.services])))
        return [*([] if options.instead else module_words(module)), *options.words]


def _tasks_of(module: ModuleType, path: str) -> list[Task]:
    tasks = [found for found in vars(module).values() if isinstance(found, Task)]
    names = [task.name for task in tasks]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        die(f"{path}: two tasks are named {twice}")
    return tasks


def execute(after: Mapping[str, Collection[str]], do: Callable[[str], None]) -> int:
    """Do steps, each as soon as those that it comes after are done; after an error none is begun any more.

    Returns:
        Exit code, 1 after an error, which is printed.
    """
    sorter = TopologicalSorter(after)
    sorter.prepare()
    failed = 0
    with ThreadPoolExecutor() as pool:
        running = {pool.submit(do, name): name for name in sorter.get_ready()}
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(future)
                error = future.exception()
                if error is None:
                    sorter.done(name)
                else:
                    failed = 1
                    warn("modprobe", f"{name}: {_text_of(error)}")
            if not failed:
                running |= {pool.submit(do, name): name for name in sorter.get_ready()}
    return failed


def _text_of(error: BaseException) -> str:
    """What an error says; where it comes from too, when it is none that is raised for the user."""
    if isinstance(error, OSError | RuntimeError | ValueError):
        return str(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"
