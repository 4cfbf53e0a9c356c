"""What plugins call: events, requests of other shells and to them, completion references."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

from flux.core.handle import Flux
from flux.errors import FluxError
from flux.hooks.host import PluginHost
from flux.hostlist import Hostlist
from flux.rpc import RPC
from flux.taskmap import TaskMap
from flux_shell import facts
from flux_shell.core import ShellCore
from flux_shell.job import Job
from flux_shell.journal import Journal, check_event, check_extra
from flux_shell.mail import Outbox
from flux_shell.mustache import differs_by_rank, render
from flux_shell.service import Service
from flux_shell.task import Task

if TYPE_CHECKING:
    from flux_shell.shell import Shell

__all__ = ["ShellFace"]


class ShellFace(ShellCore):
    """A shell as its plugins see it (contract: `flux.hooks.shell.ShellApi`)."""

    def __init__(self, job: Job, stack: PluginHost, flux: Flux | None, *args: Any) -> None:
        super().__init__(job, stack, flux, *args)
        self._service = None if flux is None else Service(flux, self.service, f"shell-{job.id}.")
        self._outbox = None if flux is None else Outbox(flux, self.rank, self.rpc, self.cli.reconnect)
        self._refs: dict[str, int] = {}
        self._held: list[tuple[str, dict[str, Any]]] | None = []
        self._contexts: dict[str, dict[str, Any]] = {"shell.init": {}, "shell.start": {}}
        self.aux: dict[str, Any] = {}
        self._topology = ""

    # -- events of the job

    def post_event(self, name: str, context: dict[str, Any]) -> None:
        check_event(name, context)
        if self._held is None:
            self._append_event(name, context)
        else:
            self._held.append((name, context))

    def _append_event(self, name: str, context: dict[str, Any]) -> None:
        if self.journal is not None:
            self.journal.append("exec.eventlog", name, context)

    def _release_events(self) -> None:
        """shell.start is posted: now come the events that plugins and other shells had before it."""
        held, self._held = self._held or [], None
        for name, context in held:
            self._append_event(name, context)

    def add_event_context(self, name: str, context: dict[str, Any]) -> None:
        """Add to the context of an event still to come: shell.init or shell.start."""
        if name not in self._contexts:
            raise FluxError(
                errno.EINVAL, f"no context can be added to the event {name}, only to shell.init, shell.start"
            )
        check_extra(name, context)
        self._contexts[name].update(context)

    # -- other shells, and who else sends requests

    def on_request(self, method: str, callback: Callable[[Any], Any]) -> None:
        _check_callback(method, callback)
        if self._service is not None:
            self._service.on_request(method, callback)

    def on_event(self, name: str, callback: Callable[[Any], Any]) -> None:
        _check_callback(name, callback)
        if self._service is not None:
            self._service.on_event(name, callback)

    def send(self, shell_rank: int, method: str, payload: dict[str, Any]) -> None:
        self._need_other(shell_rank)
        assert self._outbox is not None
        self._outbox.send(shell_rank, method, payload)

    def rpc(self, shell_rank: int, method: str, payload: dict[str, Any]) -> RPC:
        self._need_other(shell_rank)
        return RPC(self.flux, f"{self.service}.{method}", payload, self.job.nodes[shell_rank].rank)

    def _need_other(self, shell_rank: int) -> None:
        if self.flux is None:
            raise FluxError(errno.ENOTCONN, "a standalone shell has no other shells")
        self._check_rank(shell_rank)

    def _check_rank(self, shell_rank: int) -> None:
        if not 0 <= shell_rank < self.size:
            raise ValueError(f"there is no shell {shell_rank}: those of this job are 0 to {self.size - 1}")

    def others(self) -> Iterator[int]:
        """Ranks of the other shells."""
        return (rank for rank in range(self.size) if rank != self.rank)

    @property
    def flows(self) -> list[Journal | Outbox]:
        """What output leaves this shell by: when it is full, tasks have to wait."""
        flow = self._outbox if self.rank else self.journal
        return [] if flow is None else [flow]

    # -- how long the shell lives

    def add_completion_ref(self, name: str) -> None:
        self._refs[name] = self._refs.get(name, 0) + 1

    def remove_completion_ref(self, name: str) -> None:
        if name not in self._refs:
            raise FluxError(errno.ENOENT, f"no completion reference is named {name!r}")
        self._refs[name] -= 1
        if not self._refs[name]:
            del self._refs[name]

    # -- the job: flux_shell_get_info(3) and its kin

    def get_info(self) -> dict[str, Any]:
        return facts.info(self)

    def get_rank_info(self, shell_rank: int = -1) -> dict[str, Any]:
        wanted = self.rank if shell_rank == -1 else shell_rank
        self._check_rank(wanted)
        return facts.rank_info(self.job, wanted)

    def get_jobspec_info(self) -> dict[str, Any]:
        return facts.jobspec_info(self.job)

    def get_hostlist(self) -> Hostlist:
        return facts.hostlist(self.job)

    def get_taskmap(self) -> TaskMap:
        return self.job.taskmap

    def get_hwloc_xml(self) -> str:
        if self.flux is None:
            raise FluxError(errno.ENOTCONN, "a standalone shell has no resource service to ask for the topology")
        if not self._topology:
            self._topology = self.flux.rpc("resource.topo-get").get_str()
        return self._topology

    # -- options, environment, what plugins keep

    def getopt(self, name: str) -> Any:
        return self.options.get(name)

    def setopt(self, name: str, value: Any) -> None:
        if value is None:
            self.options.pop(name, None)
        else:
            self.options[name] = value

    def getenv(self, name: str) -> str | None:
        return self.env.get(name)

    def setenv(self, name: str, value: str, overwrite: bool = True) -> None:
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise ValueError(f"{name!r} cannot be the name of an environment variable")
        if not isinstance(value, str) or "\0" in value:
            raise ValueError(f"the environment variable {name} cannot be {value!r}: a string was expected")
        if overwrite or name not in self.env:
            self.env[name] = value

    def unsetenv(self, name: str) -> None:
        self.env.pop(name, None)

    def mustache_render(self, template: str, task: Task | None = None) -> str:
        return render(template, cast("Shell", self), task)

    def rank_mustache_render(self, shell_rank: int, template: str) -> str:
        self._check_rank(shell_rank)
        return render(template, cast("Shell", self), shell_rank=shell_rank)

    def mustache_is_per_rank(self, template: str) -> bool:
        return differs_by_rank(template)

    # -- the names of man3 for what is named otherwise here

    killall = ShellCore.kill_tasks
    plugstack_call = ShellCore.call
    service_register = on_request
    add_event_handler = on_event


def _check_callback(name: str, callback: Callable[[Any], Any]) -> None:
    if not isinstance(name, str) or not name:
        raise ValueError(f"a name was expected, not {name!r}")
    if not callable(callback):
        raise ValueError(f"{name}: a function was expected, not {callback!r}")
