"""Files of tasks for `flux modprobe run` (flux-modprobe(1), TASK FILES).

    from flux.modprobe import task

    def setup(context):
        context.load_modules(["job-archive"])

    @task("open-database", ranks="0", after=["job-archive"], needs=["job-archive"])
    def open_database(context):
        context.rpc("site-db.open").get()

The names are those of stock Flux's files for `rc1.d`, so that these run unchanged. This module is what a file sees;
the command works out what is to be done, and when.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from flux.core.handle import Flux
from flux.idset import IDset
from flux.rcscripts import script_folders, script_paths

if TYPE_CHECKING:
    from flux.rpc import RPC

__all__ = ["ALL", "Context", "Options", "Task", "run_all_rc_scripts", "task"]

ALL = "*"
"""In `before` or `after`: everything else."""

Names = Sequence[str] | None


class Task:
    """A function that is run in its turn, see `task`.

    Attributes:
        name: the task's. function: takes the Context.
        others as the arguments of `task`, lists as tuples.

    Raises:
        ValueError: an argument makes no sense; the text names task and argument.
    """

    def __init__(
        self,
        name: str,
        function: Callable[[Context], object],
        *,
        ranks: str | None = "all",
        provides: Names = None,
        requires: Names = None,
        needs: Names = None,
        before: Names = None,
        after: Names = None,
        needs_attrs: Names = None,
        needs_config: Names = None,
        needs_env: Names = None,
        disabled: bool = False,
    ) -> None:
        self.name = name
        self.function = function
        self.disabled = disabled
        self._ranks = ranks or "all"
        self.provides = self._names("provides", provides)
        self.requires = self._names("requires", requires)
        self.needs = self._names("needs", needs)
        self.before = self._names("before", before)
        self.after = self._names("after", after)
        self.needs_attrs = self._names("needs_attrs", needs_attrs)
        self.needs_config = self._names("needs_config", needs_config)
        self.needs_env = self._names("needs_env", needs_env)
        self.runs_on(0)
        for first, second in ((self.before, self.after), (self.after, self.before)):
            if ALL in first and (second or len(first) > 1):
                raise ValueError(f'task {name}: one that is before or after "{ALL}" can be so of nothing else')

    def _names(self, argument: str, names: Names) -> tuple[str, ...]:
        if isinstance(names, str) or not all(isinstance(name, str) for name in names or ()):
            raise ValueError(f"task {self.name}: {argument}={names!r} should be a list of names")
        return tuple(names or ())

    def runs_on(self, rank: int) -> bool:
        """True when it is for that broker."""
        sign, number = self._ranks[0], self._ranks[1:]
        try:
            if sign in "<>":
                return rank < int(number) if sign == "<" else rank > int(number)
            return self._ranks == "all" or rank in IDset(self._ranks)
        except ValueError:
            text = f"task {self.name}: ranks={self._ranks!r} should be an idset, <N, >N or all"
            raise ValueError(text) from None

    def applies(self, context: Context) -> bool:
        """True when nothing speaks against it on this broker, what other tasks and modules there are left aside."""
        return (
            not self.disabled
            and self.runs_on(context.rank)
            and _all_there(self.needs_attrs, context.attr_get)
            and _all_there(self.needs_config, context.conf_get)
            and _all_there(self.needs_env, context.getenv)
        )


def _all_there(names: Sequence[str], find: Callable[[str], Any]) -> bool:
    return all((find(name.removeprefix("!")) is None) == name.startswith("!") for name in names)


def task(name: str, **arguments: Any) -> Callable[[Callable[[Context], object]], Task]:
    """Make a task of a function.

    Args:
        name: by which others refer to it.
        ranks: an idset, "<N", ">N" or "all", the default: of the brokers on which it is run.
        requires: tasks and modules that are run and loaded for it. Says nothing of the order.
        needs: tasks, modules and services without which it is left out.
        provides: further names by which others may refer to it.
        before, after: tasks, modules and services that it is to be run before and after; ["*"] for all others.
        needs_attrs, needs_config, needs_env: broker attributes, dotted keys of the configuration and environment
            variables without which it is left out; with "!" before it, one that must not be there.
        disabled: leave it out unless Context.enable() asks for it.

    Raises:
        ValueError: an argument makes no sense. TypeError: there is no such argument.
    """
    if not isinstance(name, str):
        raise ValueError('a task needs a name: @task("name")')
    return lambda function: Task(name, function, **arguments)


class Options(NamedTuple):
    """Words for a module on top of the composition's, or `instead` of these."""

    words: tuple[str, ...] = ()
    instead: bool = False


class Context:
    """What tasks and `setup` have at hand.

    Args:
        verbose: whether `print` prints.

    Attributes:
        modules: to load. removals: to remove; None for all.
        enabled: names that were forced. alternatives: module by service.
    """

    def __init__(self, verbose: bool = False) -> None:
        self.verbose = verbose
        self.modules: list[str] = []
        self.removals: list[str] | None = []
        self.enabled: set[str] = set()
        self.alternatives: dict[str, str] = {}
        self._options: dict[str, Options] = {}
        self._shared: dict[str, Any] = {}
        self._broker_env: dict[str, str | None] = {}
        self._local = threading.local()
        self._handles: list[Flux] = []

    def close(self) -> None:
        """Close the handles of all threads."""
        for handle in self._handles:
            handle.close()

    # -- what is there

    @property
    def handle(self) -> Flux:
        """The handle of this thread, opened when it is first asked for."""
        handle: Flux | None = getattr(self._local, "handle", None)
        if handle is None:
            handle = self._local.handle = Flux()
            self._handles.append(handle)
        return handle

    @property
    def rank(self) -> int:
        """Of the broker."""
        return self.handle.get_rank()

    def rpc(self, topic: str, *args: Any, **kwargs: Any) -> RPC:
        """A request, as Flux.rpc()."""
        return self.handle.rpc(topic, *args, **kwargs)

    def attr_get(self, attr: str, default: Any = None) -> Any:
        """A broker attribute; default when it is not set."""
        try:
            return self.handle.attr_get(attr)
        except FileNotFoundError:
            return default

    def conf_get(self, key: str, default: Any = None) -> Any:
        """The value at a dotted key of the configuration; default when there is none."""
        return self.handle.conf_get(key, default)

    def getenv(self, var: str, default: str | None = None) -> str | None:
        """An environment variable, else that of the broker's process, which does not hand on all that it has."""
        if var in os.environ:
            return os.environ[var]
        if var not in self._broker_env:
            self._broker_env[var] = self.rpc("broker.getenv", {"names": [var]}).get()["env"].get(var)
        value = self._broker_env[var]
        return default if value is None else value

    def setenv(self, name_or_env: str | Mapping[str, str | None], value: str | None = None) -> None:
        """Set variables here and in the broker, for all that either starts from now on; None unsets one.

        Raises:
            ValueError: a value is no string. FluxError: EPROTO a name cannot be one.
        """
        env = {name_or_env: value} if isinstance(name_or_env, str) else dict(name_or_env)
        for name, text in env.items():
            if text is not None and not isinstance(text, str):
                raise ValueError(f"{name}={text!r}: the value of a variable is a string, or None")
        self.rpc("broker.setenv", {"env": env}).get()
        for name, text in env.items():
            self._broker_env[name] = text
            if text is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = text

    # -- what tasks tell each other and the user

    def set(self, key: str, value: Any) -> None:
        """Keep anything for other tasks."""
        self._shared[key] = value

    def get(self, key: str, default: Any = None) -> Any:
        """What `set` has kept."""
        return self._shared.get(key, default)

    def print(self, *args: Any) -> None:
        """Print, where the command was asked to be verbose."""
        if self.verbose:
            sys.stdout.write(" ".join(map(str, args)) + "\n")  # one write: other threads print too

    def bash(self, command: str) -> None:
        """Run a script of bash(1), which inherits the output. RuntimeError when it fails."""
        sys.stdout.flush()
        status = subprocess.run(["bash", "-c", command], check=False).returncode
        if status:
            how = f"died of signal {-status}" if status < 0 else f"exited with status {status}"
            raise RuntimeError(f"bash {how}: {command.strip()}")

    # -- modules

    def load_modules(self, modules: Sequence[str]) -> None:
        """Have modules loaded, and what they require: by name, or by a service that they provide."""
        self.modules += modules

    def remove_modules(self, modules: Sequence[str] | None = None) -> None:
        """Have modules removed; None for all that the broker can do without."""
        self.removals = None if modules is None or self.removals is None else [*self.removals, *modules]

    def setopt(self, module: str, options: str, overwrite: bool = False) -> None:
        """Give a module arguments before it is loaded.

        Args:
            module: name, or a service that it provides. options: words, separated by white space.
            overwrite: in place of what was set before and of those of the composition.
        """
        before = Options((), True) if overwrite else self._options.get(module, Options())
        self._options[module] = before._replace(words=(*before.words, *options.split()))

    def getopts(self, name: str, default: Sequence[str] | None = None, also: Sequence[str] | None = None) -> list[str]:
        """The words that `setopt` was given for a module, and for those of `also`."""
        return list(self.options([name, *(also or ())]).words) or list(default or ())

    def options(self, names: Sequence[str]) -> Options:
        """What `setopt` was given under several names of one module."""
        given = [self._options[name] for name in names if name in self._options]
        return Options(tuple(word for option in given for word in option.words), any(x.instead for x in given))

    def set_alternative(self, name: str, alternative: str) -> None:
        """Let a module be the one that provides a service."""
        self.alternatives[name] = alternative

    def enable(self, name: str) -> None:
        """Take a task or a module in, whatever speaks against it."""
        self.enabled.add(name)


def run_all_rc_scripts(runlevel: int) -> None:
    """Run the scripts of rc1.d (1) or rc3.d (3) as the broker does where no other command stands in for it.

    Raises:
        OSError: one has failed, after all were run.
    """
    context = Context()
    config = context.attr_get("config.path")
    context.close()
    failed = []
    for path in script_paths(script_folders(config, os.environ.get("FLUX_RC_EXTRA")), f"rc{runlevel}"):
        print(f"running {path}", flush=True)
        try:
            subprocess.run([path], check=True)
        except (OSError, subprocess.CalledProcessError) as exc:
            print(f"{path}: {exc}", file=sys.stderr)
            failed.append(path)
    if failed:
        raise OSError(f"scripts of rc{runlevel}.d have failed: {', '.join(failed)}")
