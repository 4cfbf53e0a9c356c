"""Hooks of the job shell (flux-shell(1), PLUGINS): what a shell plugin may implement.

A hook is called `shell_init` here and in Python; the same hook is the topic "shell.init" in the Lua initrc.
An implementation takes any subset of the arguments. When one raises in a hook marked fatal, the job gets a fatal
exception of type "exec" that names the plugin; else the error is logged and the next plugin called. All since 0.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import pluggy

from flux.hooks.host import ErrorPolicy, hook_policy
from flux.module.base import DEFERRED

if TYPE_CHECKING:
    from flux.core.handle import Flux
    from flux.core.reactor import Reactor
    from flux.hostlist import Hostlist
    from flux.message import Message
    from flux.rpc import RPC
    from flux.taskmap import TaskMap

__all__ = ["DEFERRED", "ShellApi", "TaskApi", "hookimpl", "hookspec"]

hookspec = pluggy.HookspecMarker("flux.shell")
hookimpl = pluggy.HookimplMarker("flux.shell")
fatal = hook_policy(ErrorPolicy.FATAL)


class TaskApi(Protocol):
    """One task of this shell.

    Attributes:
        rank, localid: global and local task rank.
        argv, env: what is executed; a plugin may change both until the task is started.
        state: "Init", "Running" or "Exited".
        pid, status: process id; wait status once exited, else -1.
        terminal: device that becomes its controlling terminal, stdin, stdout and stderr; "" for none.
    """

    rank: int
    localid: int
    argv: list[str]
    env: dict[str, str]
    state: str
    pid: int
    status: int
    terminal: str

    def info(self) -> dict[str, Any]:
        """localid, rank, state, pid, wait_status, exitcode, signaled (flux_shell_task_get_info(3))."""

    def kill(self, signum: int) -> None:
        """Signal the task's process group; nothing happens when it is gone."""

    def pass_fd(self, fd: int, target: int = -1) -> None:
        """Let the task inherit fd, under the number target (default: its own); the shell's copy is closed at start.
        ValueError for what is no number of a descriptor."""

    def channel_subscribe(self, name: str, callback: Callable[[bytes, bool], None], lines: bool = True) -> Any:
        """Take what the task writes to a channel; in task_init, before it is started.

        "stdout" and "stderr" then do not become output of the job: subscribe with `@hookimpl(tryfirst=True)`, before
        the shell itself does. Any other name is an environment variable, which gets the number of a descriptor.

        Args:
            callback: called with (data, eof), once with eof; whole lines when lines is true.

        Returns:
            What reads the channel; its `pause()` and `resume()` make the task wait.

        Raises:
            FluxError: EEXIST when the channel has a subscriber; EINVAL when the task is started, or has a terminal in
                place of this channel.
        """


class ShellApi(Protocol):
    """The shell, as plugins see it.

    Attributes:
        jobid: id of the job. rank, size: this shell's rank, and the number of shells.
        env: the environment its tasks start from. options: `attributes.system.shell.options`, may be changed.
        tasks: local tasks. flux: blocking handle of the broker; None when standalone.
        reactor: calls back for file descriptors and timers.
        job: jobspec, R and what follows from them. journal: the job's eventlogs; None when standalone.
        service: name under which shells of this job reach each other. standalone: True when run without an instance.
        aux: what plugins keep with the shell, by name. current_task: the task of a task hook; None in other hooks.
    """

    jobid: int
    rank: int
    size: int
    env: dict[str, str]
    options: dict[str, Any]
    tasks: list[TaskApi]
    flux: Flux
    reactor: Reactor
    job: Any
    journal: Any
    service: str
    standalone: bool
    aux: dict[str, Any]
    current_task: TaskApi | None

    def log(self, level: int, message: str, component: str = "") -> None:
        """Log for the job's user. level: 0 (fatal), 3 (error), 4 (warning), 5 (notice), 6 (debug) or 7 (trace).

        Debug messages are logged with verbose=1, traces with verbose=2.
        """

    def log_setlevel(self, level: int, dest: str = "any") -> None:
        """Log up to so many levels above notice; calls the hook shell_log_setlevel."""

    def raise_exception(self, type: str, severity: int, note: str) -> None:
        """Raise an exception on the job (RFC 21); severity 0 ends it. Only logged when standalone."""

    def raise_exit_status(self, wait_status: int, note: str) -> None:
        """Raise a fatal exception on the job, whose wait status is to be this one (RFC 32)."""

    def die(self, message: str, status: int = 1) -> None:
        """Raise a fatal exception on the job; the shell ends its tasks and exits with status."""

    def kill_tasks(self, signum: int) -> None:
        """Signal all local tasks."""

    def post_event(self, name: str, context: dict[str, Any]) -> None:
        """Append to the job's exec.eventlog; what is posted before shell.start comes right after it.

        Raises:
            ValueError: the name is empty or has blanks, or the context is no object that JSON can hold (RFC 18).
        """

    def on_request(self, method: str, callback: Callable[[Message], Any]) -> None:
        """Serve requests for "SERVICE.method": callback(msg) gives the response payload, or DEFERRED
        when it answers later, with `flux.respond` or `flux.respond_error`. An error that it raises is the answer."""

    def on_event(self, name: str, callback: Callable[[Message], Any]) -> None:
        """Take the job's events "shell-JOBID.name"."""

    def send(self, shell_rank: int, method: str, payload: dict[str, Any]) -> None:
        """Send a request to another shell of the job, whose response is of no interest.

        It gets there once, and in the order of sending, also when brokers on the way are lost meanwhile.

        Raises:
            ValueError: there is no shell of that rank. FluxError: EPROTO for a payload that is not JSON, ENOTCONN when
                standalone.
        """

    def rpc(self, shell_rank: int, method: str, payload: dict[str, Any]) -> RPC:
        """Send a request to another shell of the job. Errors: `send`."""

    def add_completion_ref(self, name: str) -> None:
        """Keep the shell from exiting until `remove_completion_ref` of the same name."""

    def remove_completion_ref(self, name: str) -> None:
        """Give a reference back. FluxError ENOENT when there is none of that name."""

    def add_event_context(self, name: str, context: dict[str, Any]) -> None:
        """Add keys to the context of the event shell.init or shell.start, before it is posted.

        Raises:
            FluxError: EINVAL for another event. ValueError: as `post_event`, or the shell itself says a key of it.
        """

    def get_info(self) -> dict[str, Any]:
        """jobid, instance_owner, rank, size, ntasks, service, options {verbose, standalone}, jobspec, R."""

    def get_rank_info(self, shell_rank: int = -1) -> dict[str, Any]:
        """id, name (host), broker_rank, ntasks, taskids, resources {ncores, cores, gpus, and core, gpu if any} of a
        shell, this one by default. ValueError when there is none of that rank."""

    def get_jobspec_info(self) -> dict[str, Any]:
        """version, ntasks, nslots, cores_per_slot, gpus_per_slot, node_exclusive; nnodes, slots_per_node (or -1)."""

    def get_hostlist(self) -> Hostlist:
        """Hosts by shell rank."""

    def get_taskmap(self) -> TaskMap:
        """Where each task is."""

    def getopt(self, name: str) -> Any:
        """A shell option; None when it is not set."""

    def setopt(self, name: str, value: Any) -> None:
        """Set a shell option; None removes it."""

    def getenv(self, name: str) -> str | None:
        """A variable of the environment that tasks start from."""

    def setenv(self, name: str, value: str, overwrite: bool = True) -> None:
        """Set a variable of that environment; with overwrite=False only when it is not set. ValueError for a name or a
        value that cannot be."""

    def unsetenv(self, name: str) -> None:
        """Remove a variable from that environment."""

    def get_hwloc_xml(self) -> str:
        """The topology of this node as hwloc XML. FluxError ENOTCONN when standalone."""

    def mustache_render(self, template: str, task: TaskApi | None = None) -> str:
        """The template with its tags filled in; tags of a task stay when none is given (flux-shell(1))."""

    def rank_mustache_render(self, shell_rank: int, template: str) -> str:
        """The same as the shell of that rank would render it, but for {{tmpdir}}. ValueError when there is none."""

    def mustache_is_per_rank(self, template: str) -> bool:
        """True when the template has tags that differ by shell or by task."""

    def call(self, topic: str, **kwargs: Any) -> list[Any]:
        """Call a hook of the plugin stack, also one that only plugins know (flux_shell_plugstack_call(3))."""

    # The names of man3 for what has a plainer one.

    def killall(self, signum: int) -> None:
        """The same as `kill_tasks`."""

    def plugstack_call(self, topic: str, **kwargs: Any) -> list[Any]:
        """The same as `call`."""

    def service_register(self, method: str, callback: Callable[[Message], Any]) -> None:
        """The same as `on_request`."""

    def add_event_handler(self, name: str, callback: Callable[[Message], Any]) -> None:
        """The same as `on_event`."""


@hookspec
@fatal
def shell_connect(shell: ShellApi) -> None:
    """The shell has just connected to its broker. Not called when standalone."""


@hookspec
@fatal
def shell_init(shell: ShellApi) -> None:
    """Jobspec and R are known, no task is started, other shells may not be there yet."""


@hookspec(firstresult=True)
@fatal
def shell_taskmap(shell: ShellApi, scheme: str, value: str, counts: list[int]) -> TaskMap | None:
    """Assign tasks to shells by the scheme that `-o taskmap=SCHEME[:VALUE]` asks for.

    Args:
        counts: number of tasks of each shell.

    Returns:
        The map of the same tasks, or None when the scheme is not the plugin's.
    """


@hookspec
@fatal
def shell_post_init(shell: ShellApi) -> None:
    """All shells of the job have initialised."""


@hookspec
@fatal
def task_init(shell: ShellApi, task: TaskApi) -> None:
    """A task is about to be started; its arguments and environment may be changed."""


@hookspec
@fatal
def task_exec(shell: ShellApi, task: TaskApi) -> None:
    """Called in the task's own process just before execve(2). An implementation makes starting tasks slower."""


@hookspec
@fatal
def task_fork(shell: ShellApi, task: TaskApi) -> None:
    """A task has been started; called in the shell."""


@hookspec
@fatal
def shell_start(shell: ShellApi) -> None:
    """All local tasks are running."""


@hookspec
@fatal
def task_exit(shell: ShellApi, task: TaskApi) -> None:
    """A task has exited and its wait status is known."""


@hookspec
@fatal
def shell_finish(shell: ShellApi) -> None:
    """The last local task has exited; its output may still be on the way."""


@hookspec
def shell_tasks_complete(shell: ShellApi) -> None:
    """All tasks of the job have exited, or their shells are lost; called once, in shell 0.

    Shells may go on, for what holds a completion reference.
    """


@hookspec
def shell_exit(shell: ShellApi) -> None:
    """The shell is about to exit: give back what was taken."""


@hookspec
def shell_reconnect(shell: ShellApi) -> None:
    """The shell has lost its broker and found it again (flux-shell(1), --reconnect).

    Its service and the job's events are there again; requests that were pending have failed with ECONNRESET.
    """


@hookspec
def shell_lost(shell: ShellApi, shell_rank: int, severity: int) -> None:
    """Another shell of the job was lost; called in shell 0."""


@hookspec
def shell_resource_update(shell: ShellApi) -> None:
    """The job's resource set has changed, its expiration for instance: `shell.job.r` is the new one (RFC 41)."""


@hookspec
def shell_output(shell: ShellApi, stream: str, rank: int, data: bytes, eof: bool) -> None:
    """Output of a task that does not come through its pipes, but from its terminal.

    Args:
        stream: "stdout" or "stderr". rank: of the task. data: any number of bytes. eof: True when the stream ends here.
    """


@hookspec
def shell_log(shell: ShellApi, level: int, message: str, component: str) -> None:
    """A message was logged. An error of an implementation goes to the shell's stderr only, what it logs nowhere."""


@hookspec
def shell_log_setlevel(shell: ShellApi, level: int, dest: str) -> None:
    """The verbosity was changed. level: 0 for none of what is above notice. dest: "any"."""


@hookspec(firstresult=True)
def mustache_render(shell: ShellApi, tag: str, task: TaskApi | None) -> str | None:
    """A template has a tag that the shell itself does not know.

    Args:
        tag: what stands between the braces. task: the one that it is rendered for, if any.

    Returns:
        What takes its place, or None when the tag is not the plugin's.
    """
