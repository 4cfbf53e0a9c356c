"""Shell option cpu-affinity: tasks run on the CPUs that the job was given, or each on its own share of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from flux.cores import cores_of, cpus_of, host_cores
from flux.hooks.shell import hookimpl
from flux.idset import IDset
from flux_shell.cpusets import parse_map, share

if TYPE_CHECKING:
    from flux_shell.shell import Shell
    from flux_shell.task import Task

__all__ = ["Affinity"]

LOG_WARNING, LOG_NOTICE, LOG_DEBUG = 4, 5, 6
_FLAGS = ("verbose", "dry-run")
_EXPECTED = "on, off, per-task or map:SET;SET;..., after verbose or dry-run and a comma if wanted"


class Wish(NamedTuple):
    """What the option asks for. mode: on, off, per-task or map. sets: of a map, for one task after another."""

    mode: str
    sets: list[list[int]]
    verbose: bool
    dry_run: bool


def _wish(option: object) -> Wish:
    if option is False:
        option = "off"
    elif option in (True, None):
        option = "on"
    if isinstance(option, dict) and option.keys() <= set(_FLAGS):
        option = ",".join(name for name, is_set in option.items() if is_set)
    verbose = dry_run = False
    rest = str(option)
    while rest.partition(",")[0] in _FLAGS:
        word, _, rest = rest.partition(",")
        verbose, dry_run = True, dry_run or word == "dry-run"
    mode, colon, sets = (rest or "on").partition(":")
    if mode not in ("on", "off", "per-task", "map") or bool(colon) != (mode == "map"):
        raise ValueError(f"shell option cpu-affinity={option}: {_EXPECTED} was expected")
    try:
        return Wish(mode, parse_map(sets) if colon else [], verbose, dry_run)
    except ValueError as exc:
        raise ValueError(f"shell option cpu-affinity={option}: {exc}") from None


class Affinity:
    """Binds by setting the shell's own affinity just before tasks are started."""

    def __init__(self) -> None:
        self._cpus: list[int] = []
        self._sets: list[list[int]] = []
        self._binds = False
        host_cores()  # what the warm parent has read no shell reads again

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        wish = _wish(shell.options.get("cpu-affinity"))
        if wish.mode == "off":
            return
        cores = shell.job.nodes[shell.rank].cores
        self._cpus = _cpus_of(IDset(cores))
        if not self._cpus:
            level = LOG_DEBUG if wish == _wish(None) else LOG_WARNING
            shell.log(level, f"cores {cores} are not there: tasks are not bound to CPUs", "cpu-affinity")
            return
        self._sets = self._sets_of_tasks(wish, shell.job.counts[shell.rank])
        self._binds = not wish.dry_run and not shell.standalone
        if wish.verbose:
            self._report(shell)

    @hookimpl
    def shell_post_init(self) -> None:
        if self._binds:  # not before: a shell that starts is done sooner on any CPU that idles
            os.sched_setaffinity(0, self._cpus)

    def _sets_of_tasks(self, wish: Wish, count: int) -> list[list[int]]:
        if wish.mode == "per-task":
            return [share(self._cpus, index, count) for index in range(count)]
        return [wish.sets[index % len(wish.sets)] for index in range(count)] if wish.sets else []

    def _report(self, shell: Shell) -> None:
        shell.log(LOG_NOTICE, f"cpus: {IDset(self._cpus)}", "cpu-affinity")
        for rank, cpus in zip(shell.job.task_ranks(shell.rank), self._sets, strict=False):
            shell.log(LOG_NOTICE, f"task {rank}: cpus: {IDset(cpus)}", "cpu-affinity")

    @hookimpl
    def task_init(self, shell: Shell, task: Task) -> None:
        if not self._binds or not self._sets:
            return
        cpus = self._sets[task.localid]
        try:
            os.sched_setaffinity(0, cpus)
        except OSError as exc:
            text = f"task {task.rank} is not bound to CPUs {IDset(cpus)}: {exc.strerror}"
            shell.log(LOG_WARNING, text, "cpu-affinity")

    @hookimpl
    def shell_start(self) -> None:
        if self._binds and self._sets:
            os.sched_setaffinity(0, self._cpus)


def _cpus_of(cores: IDset) -> list[int]:
    """All CPUs of cores, by their numbers in the host, else, counted from 0, of those that the broker may use.

    None when the resource set names cores that are not there.
    """
    allowed = os.sched_getaffinity(0)
    numbers, usable = list(cores), list(cores_of(allowed))
    if not set(numbers) <= set(usable):
        numbers = [usable[core] for core in numbers] if numbers[-1] < len(usable) else []
    return [cpu for cpu in cpus_of(numbers) if cpu in allowed]
