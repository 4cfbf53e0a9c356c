"""Calls hooks: the one caller of plugins of the job manager, the job shell and whatever else has hooks.

pluggy keeps the registry and checks specifications. This caller adds what pluggy leaves out: plugins are called
in the order they were loaded, results may be awaited, an error follows the policy its hook's specification
states and does not keep the next plugin from being called unless the policy says so, a misspelt hook or argument
is refused with the right spelling, and calls, errors and time are counted for each plugin.
"""

from __future__ import annotations

import errno
import inspect
import time
from collections.abc import Awaitable, Callable, Iterator
from enum import Enum
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

import pluggy

from flux.discovery import PluginError, nearest

__all__ = ["ErrorPolicy", "HookFailure", "PluginHost", "PluginStats", "explain", "hook_policy"]

F = TypeVar("F", bound=Callable[..., Any])


class ErrorPolicy(Enum):
    """What an error of an implementation means; a hook's specification states one."""

    FATAL = "fatal"
    """Whoever called cannot go on."""
    REFUSE = "refuse"
    """The request at hand is refused; plugins after this one are not called."""
    EXCEPTION = "exception"
    """The job at hand gets a job exception; plugins after this one are called."""
    LOG = "log"
    """It is logged; plugins after this one are called."""


class HookFailure(NamedTuple):
    """An implementation raised.

    Attributes:
        arguments: what the hook was called with.
    """

    hook: str
    plugin: str
    policy: ErrorPolicy
    error: Exception
    arguments: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.plugin}: {self.hook}: {explain(self.error)}"


_SLIPS = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, TypeError, RecursionError)
"""Errors of a program rather than of its input: their text says little without the place."""


def explain(error: BaseException, always_placed: bool = False) -> str:
    """What went wrong, for a log: the error's text; of one that says little, also its type and where it was raised.

    Args:
        always_placed: say so of any: where it is not known by other means whose error it is.
    """
    text = str(error)
    if text and isinstance(error, Exception) and not isinstance(error, _SLIPS) and not always_placed:
        return text
    what = ": ".join(filter(None, (type(error).__name__, text)))
    trace = error.__traceback__
    if trace is None:
        return what
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{what} ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})"


class PluginStats:
    """Counters of one plugin. seconds: time spent in its implementations."""

    __slots__ = ("calls", "errors", "last_error", "seconds")

    def __init__(self) -> None:
        self.calls = 0
        self.errors = 0
        self.seconds = 0.0
        self.last_error = ""

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("calls", "errors", "seconds", "last_error")}


class Spec(NamedTuple):
    """A hook's specification: argument names, error policy, whether it may be awaited and stops at a result."""

    arguments: tuple[str, ...]
    policy: ErrorPolicy
    awaitable: bool
    first_result: bool


class Implementation(NamedTuple):
    """A hook implementation, ready to be called. order: -1 to come first, 1 to come last, else 0."""

    plugin: str
    function: Callable[..., Any]
    arguments: tuple[str, ...]
    order: int
    stats: PluginStats


def hook_policy(policy: ErrorPolicy) -> Callable[[F], F]:
    """State the error policy of a hook specification (below `@hookspec`); without it, LOG."""

    def mark(function: F) -> F:
        function.__dict__["__flux_policy__"] = policy
        return function

    return mark


def raise_or_ignore(failure: HookFailure) -> None:
    """The default for `on_error`: raise what is FATAL or REFUSE, count the rest."""
    if failure.policy in (ErrorPolicy.FATAL, ErrorPolicy.REFUSE):
        raise failure.error


class PluginHost:
    """The plugins of one host (a job manager, a shell), and how they are called.

    Args:
        name: of the host, for messages.
        specs_module: module of `flux.hooks` with the specifications and their `hookspec` marker.
        on_error: called with each HookFailure; raise to stop the call, return to go on with the next plugin.
    """

    def __init__(
        self, name: str, specs_module: ModuleType, on_error: Callable[[HookFailure], None] = raise_or_ignore
    ) -> None:
        self.name = name
        self.on_error = on_error
        self._marker = f"{specs_module.hookspec.project_name}_impl"
        self._registry = pluggy.PluginManager(specs_module.hookspec.project_name)
        self._registry.add_hookspecs(specs_module)
        self.specs = dict(_read_specs(specs_module))
        self._plugins: dict[str, Any] = {}
        self._stats: dict[str, PluginStats] = {}
        self._calls: dict[str, list[Implementation]] = {}

    # -- registry

    def register(self, plugin: Any, name: str) -> None:
        """Add a plugin: any object, or a module, with functions marked `@hookimpl`.

        Raises:
            PluginError: EEXIST when the name is taken; EINVAL when it implements no hook, an unknown one, takes an
                argument the hook does not have, or cannot be called the way the hook is.
        """
        if name in self._plugins:
            raise PluginError(errno.EEXIST, f'{self.name}: plugin "{name}" is loaded already')
        found = dict(self._hooks_of(plugin, name))
        if not found:
            raise PluginError(errno.EINVAL, f'plugin "{name}" implements no hook: mark its functions with @hookimpl')
        for hook, function in found.items():
            self._check(name, hook, function)
        self._registry.register(plugin, name)
        self._plugins[name] = plugin
        self._stats[name] = PluginStats()
        self._rebuild()

    def unregister(self, name: str) -> Any:
        """Remove a plugin and return it. PluginError ENOENT when it is not loaded."""
        if name not in self._plugins:
            raise PluginError(errno.ENOENT, f'{self.name}: no plugin "{name}" is loaded', nearest(name, self._plugins))
        self._registry.unregister(name=name)
        del self._stats[name]
        plugin = self._plugins.pop(name)
        self._rebuild()
        return plugin

    def names(self) -> list[str]:
        """The loaded plugins, in order."""
        return list(self._plugins)

    def plugin(self, name: str) -> Any:
        """The object registered under a name. KeyError when there is none."""
        return self._plugins[name]

    def hooks_of(self, name: str) -> list[str]:
        """The hooks that a loaded plugin implements."""
        return [hook for hook, impls in self._calls.items() if any(impl.plugin == name for impl in impls)]

    def has(self, hook: str) -> bool:
        """True when a loaded plugin implements the hook."""
        return hook in self._calls

    def stats(self) -> dict[str, dict[str, Any]]:
        """Plugin to {calls, errors, seconds, last_error}."""
        return {name: stats.as_dict() for name, stats in self._stats.items()}

    def _hooks_of(self, plugin: Any, name: str) -> Iterator[tuple[str, Callable[..., Any]]]:
        home = getattr(plugin, "__name__", type(plugin).__module__)
        for attribute in dir(plugin):
            member = getattr(plugin, attribute, None)
            options = getattr(member, self._marker, None)
            if isinstance(options, dict) and callable(member):
                yield self._hook_name(attribute, options, name), member
            elif attribute in self.specs and getattr(member, "__module__", "") == home:
                raise PluginError(
                    errno.EINVAL, f'plugin "{name}" defines {attribute}, a hook, but does not mark it with @hookimpl'
                )

    def _hook_name(self, attribute: str, options: dict[str, Any], name: str) -> str:
        hook = str(options.get("specname") or attribute)
        if hook not in self.specs and not options.get("optionalhook"):
            text = f'plugin "{name}" implements {hook}, which is no hook of {self.name}'
            raise PluginError(errno.EINVAL, text, nearest(hook, self.specs))
        if options.get("wrapper") or options.get("hookwrapper"):
            raise PluginError(errno.EINVAL, f'plugin "{name}": {hook} cannot be wrapped here')
        return hook

    def _check(self, name: str, hook: str, function: Callable[..., Any]) -> None:
        spec = self.specs.get(hook)
        if spec is None:
            return
        for argument in _arguments(function):
            if argument not in spec.arguments:
                has = ", ".join(spec.arguments) or "none"
                text = f'plugin "{name}": {hook} has no argument "{argument}" (it has: {has})'
                raise PluginError(errno.EINVAL, text, nearest(argument, spec.arguments))
        if inspect.iscoroutinefunction(function) and not spec.awaitable:
            raise PluginError(
                errno.EINVAL, f'plugin "{name}": {hook} must be a plain function, its result is used at once'
            )

    def _rebuild(self) -> None:
        calls: dict[str, list[Implementation]] = {}
        for name, plugin in self._plugins.items():
            for caller in self._registry.get_hookcallers(plugin) or ():
                mine = next(impl for impl in caller.get_hookimpls() if impl.plugin is plugin)
                order = mine.trylast - mine.tryfirst
                found = Implementation(name, mine.function, mine.argnames, order, self._stats[name])
                calls.setdefault(caller.name, []).append(found)
        for impls in calls.values():
            impls.sort(key=lambda impl: impl.order)
        self._calls = calls

    # -- calls

    def call(self, hook: str, **arguments: Any) -> list[Any]:
        """Call every implementation of a hook in order.

        Returns:
            The results that are not None; at most one when the specification says `firstresult`.
        """
        impls = self._calls.get(hook)
        return self._call(hook, impls, arguments) if impls else []

    def call_plugin(self, name: str, hook: str, **arguments: Any) -> list[Any]:
        """As `call`, for one plugin only."""
        return self._call(hook, [impl for impl in self._calls.get(hook, ()) if impl.plugin == name], arguments)

    def _call(self, hook: str, impls: list[Implementation], arguments: dict[str, Any]) -> list[Any]:
        results = []
        stop_at_first = hook in self.specs and self.specs[hook].first_result
        for impl in impls:
            stats = impl.stats
            stats.calls += 1
            started = time.perf_counter()
            try:
                result = impl.function(*[arguments[name] for name in impl.arguments])
            except Exception as exc:
                self._failed(hook, impl, exc, arguments)
                continue
            except SystemExit as exc:
                self._failed(hook, impl, RuntimeError(f"sys.exit({exc.code!r}) was called"), arguments)
                continue
            finally:
                stats.seconds += time.perf_counter() - started
            if result is not None:
                results.append(result)
                if stop_at_first:
                    break
        return results

    async def call_async(self, hook: str, **arguments: Any) -> list[Any]:
        """As `call`, awaiting each result that is awaitable before the next plugin is called."""
        results: list[Any] = []
        stop_at_first = hook in self.specs and self.specs[hook].first_result
        for impl in self._calls.get(hook, ()):
            for result in self._call(hook, [impl], arguments):
                settled = await self._settle(hook, impl, result, arguments) if inspect.isawaitable(result) else result
                if settled is not None:
                    results.append(settled)
            if results and stop_at_first:
                break
        return results

    async def _settle(self, hook: str, impl: Implementation, result: Awaitable[Any], arguments: dict[str, Any]) -> Any:
        started = time.perf_counter()
        try:
            return await result
        except Exception as exc:
            self._failed(hook, impl, exc, arguments)
            return None
        finally:
            impl.stats.seconds += time.perf_counter() - started

    def count_error(self, name: str, text: str) -> None:
        """Count an error that a plugin made outside of a call."""
        self._stats[name].errors += 1
        self._stats[name].last_error = text

    def _failed(self, hook: str, impl: Implementation, exc: Exception, arguments: dict[str, Any]) -> None:
        impl.stats.errors += 1
        impl.stats.last_error = f"{hook}: {explain(exc)}"
        policy = self.specs[hook].policy if hook in self.specs else ErrorPolicy.LOG
        self.on_error(HookFailure(hook, impl.plugin, policy, exc, arguments))


def _read_specs(module: ModuleType) -> Iterator[tuple[str, Spec]]:
    marker = f"{module.hookspec.project_name}_spec"
    for name, function in vars(module).items():
        options = getattr(function, marker, None)
        if isinstance(options, dict):
            policy = getattr(function, "__flux_policy__", ErrorPolicy.LOG)
            awaitable = inspect.iscoroutinefunction(function)
            yield name, Spec(_arguments(function), policy, awaitable, bool(options["firstresult"]))


def _arguments(function: Callable[..., Any]) -> tuple[str, ...]:
    """Names of the arguments that have to be passed: those with a default are the function's own business."""
    taken = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return tuple(p.name for p in parameters if p.kind in taken and p.default is p.empty)
