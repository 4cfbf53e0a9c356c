"""Job policies (jobtap plugins): loading, and the job and the manager as they see them (flux-jobtap-plugins(7))."""

from __future__ import annotations

import errno
import fnmatch
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flux import discovery
from flux.constants import FLUX_JOB_PRIORITY_MAX
from flux.errors import FluxError
from flux.hooks import jobtap
from flux.hooks.host import ErrorPolicy, HookFailure, PluginHost
from flux.hooks.jobtap import UNAVAILABLE
from flux.message import Message
from flux_plugins.job_manager.isolation import HOLD, Isolation, read_containment
from flux_plugins.job_manager.job import CLEANUP, DEPEND, INACTIVE, NEW, PRIORITY, RUN, SCHED, Job
from flux_plugins.job_manager.policy_process import Containment, PolicyHolds
from flux_plugins.job_manager.queues import Queue
from flux_plugins.job_manager.view import JobView

if TYPE_CHECKING:
    from flux_plugins.job_manager.manager import Manager

__all__ = ["STATE_HOOKS", "Policies"]

STATE_HOOKS = {
    DEPEND: "job_state_depend",
    PRIORITY: "job_state_priority",
    SCHED: "job_state_sched",
    RUN: "job_state_run",
    CLEANUP: "job_state_cleanup",
    INACTIVE: "job_state_inactive",
}
"""State to the hook that is called when a job enters it."""

LOAD_ORDERS = ("none", "state", "-state")
"""In what order a policy may be told of active jobs when it is loaded: its attribute `load_order`."""

_DIRECTIVE_KEYS = ("load", "conf", "remove", "isolated", "deadline", "on-error", "memory-limit")


class Policies:
    """The loaded policies, and the manager as they see it (`flux.hooks.jobtap.Manager`)."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._paths: dict[str, str] = {}
        self._services: dict[str, tuple[Callable[[Message], Any], int]] = {}
        self.host = PluginHost("job-manager", jobtap, self._failed)
        self.flux = manager.flux
        self.isolation = Isolation(self, manager)

    # -- calls

    def view(self, job: Job) -> JobView:
        """The job as policies see it."""
        if job.view is None:
            job.view = JobView(job, self._manager)
        return job.view  # type: ignore[no-any-return]

    def call_for(self, job: Job, hook: str, **arguments: Any) -> list[Any]:
        """Call a hook for a job, if anybody implements it."""
        return self.host.call(hook, job=self.view(job), **arguments) if self.host.has(hook) else []

    def priority_of(self, results: Iterable[Any]) -> int | None:
        """The priority that a hook's results come to, None when there is none."""
        last = next(reversed(list(results)), None)
        if last is None or last is UNAVAILABLE:
            return None
        if not isinstance(last, int) or not 0 <= last <= FLUX_JOB_PRIORITY_MAX:
            self._manager.log.error("a policy returned what is no priority", priority=last)
            return None
        return last

    def must_wait(self, *hooks: str) -> bool:
        """True when an isolated policy implements one of the hooks, whose answer takes time."""
        return bool(self.isolation.processes) and any(self.isolation.implements(hook) for hook in hooks)

    async def call_async(self, job: Job, hook: str, **arguments: Any) -> list[Any]:
        """As `call_for`, waiting for isolated policies."""
        return await self.host.call_async(hook, job=self.view(job), **arguments) if self.host.has(hook) else []

    def admit(self, job: Job) -> None:
        """Ask the policies about a job that was submitted. FluxError when one refuses it."""
        view = self.view(job)
        self.host.call("job_create", job=view, conf=self.conf)
        self.host.call("job_validate", job=view, conf=self.conf)
        for dependency in _dependencies(view):
            _require_scheme(view, dependency, self.host.call("job_dependency", **self._about(view, dependency)))
        self.call_for(job, "job_new")

    async def admit_async(self, job: Job) -> None:
        """As `admit`, waiting for isolated policies."""
        view = self.view(job)
        await self.host.call_async("job_create", job=view, conf=self.conf)
        await self.host.call_async("job_validate", job=view, conf=self.conf)
        await self.introduce(job)

    async def introduce(self, job: Job) -> None:
        """Tell the policies of a job, new or found at restart. FluxError when nobody knows one of its dependencies."""
        view = self.view(job)
        if job.state <= DEPEND:
            for dependency in _dependencies(view):
                _require_scheme(view, dependency, await self._ask_about(view, dependency))
        self.call_for(job, "job_new")

    async def _ask_about(self, view: JobView, dependency: Mapping[str, Any]) -> list[Any]:
        """Answers about a dependency; one that was met before a restart is not added again, and that is no error."""
        try:
            return await self.host.call_async("job_dependency", **self._about(view, dependency))
        except FluxError as exc:
            if exc.errno != errno.EEXIST or view.state == NEW:
                raise
            return [True]

    async def ask_one(self, name: str, view: JobView) -> None:
        """Ask one policy about a job that was submitted while it could not be asked. FluxError when it refuses it."""
        for hook in ("job_create", "job_validate"):
            await _settled(self.host.call_plugin(name, hook, job=view, conf=self.conf))
        for dependency in _dependencies(view):
            await self._ask_about(view, dependency)

    def _about(self, view: JobView, dependency: Mapping[str, Any]) -> dict[str, Any]:
        return {"job": view, "scheme": dependency["scheme"], "dependency": dependency, "manager": self}

    def _failed(self, failure: HookFailure) -> None:
        error, log = failure.error, self._manager.log
        view = failure.arguments.get("job")
        if isinstance(error, PolicyHolds) and isinstance(view, JobView):
            self.isolation.hold(view, failure.plugin)
            return
        if isinstance(error, FluxError) and failure.policy in (ErrorPolicy.REFUSE, ErrorPolicy.FATAL):
            raise error
        log.exception(f"jobtap {failure}", error)
        if failure.policy in (ErrorPolicy.REFUSE, ErrorPolicy.FATAL):
            raise FluxError(errno.EINVAL, f"{failure.plugin}: {failure.hook}: {type(error).__name__}: {error}")
        if failure.policy is ErrorPolicy.EXCEPTION and isinstance(view, JobView):
            view.raise_exception("jobtap", 0, str(failure))

    # -- loading

    async def load(
        self,
        reference: str,
        options: Mapping[str, Any] | None = None,
        containment: Containment = Containment(),  # noqa: B008 (immutable)
    ) -> str:
        """Load a policy by installed name, dotted path or file; gives the name it goes by.

        Raises:
            FluxError: ENOENT it is not there; EEXIST it is loaded already; EINVAL it is no policy, or it refuses.
        """
        entry = discovery.resolve("jobtap", reference)
        if entry.target.endswith(".so"):
            raise FluxError(errno.ENOENT, f"{reference} not found among policies: these are Python files or modules")
        name = os.path.basename(entry.target) if entry.is_file else entry.name
        if name in self.host.names():
            raise FluxError(errno.EEXIST, f'job-manager: plugin "{name}" is loaded already')
        if containment.isolated:
            process = await self.isolation.start(name, reference, dict(options or {}), containment)
            self.host.register(process.plugin(), name)
            self._paths[name], order = process.file, process.load_order
        else:
            plugin, origin = discovery.load_entry(entry)
            self.host.register(plugin() if inspect.isclass(plugin) else plugin, name)
            self._paths[name], order = origin.file, getattr(plugin, "load_order", "none")
        try:
            if not containment.isolated:
                self.host.call_plugin(name, "plugin_load", manager=self, options=dict(options or {}))
                self.host.call_plugin(name, "conf_update", conf=self.conf)
            await self._introduce_jobs(name, order)
        except FluxError:
            self._unload(name)
            raise
        return name

    async def _introduce_jobs(self, name: str, order: str) -> None:
        if order not in LOAD_ORDERS:
            raise FluxError(errno.EINVAL, f"{name}: load_order must be {', '.join(LOAD_ORDERS)}, not {order!r}")
        views = [self.view(job) for job in self._manager.jobs.values() if job.state != NEW]
        if order != "none":
            sign = -1 if order == "-state" else 1
            views.sort(key=lambda view: (sign * view.state, view.id))
        for answers in [self.host.call_plugin(name, "job_create", job=view, conf=self.conf) for view in views]:
            await _settled(answers)
        for view in views:
            if view.state == DEPEND:
                await self._reintroduce_dependencies(name, view)
            self.host.call_plugin(name, "job_new", job=view)
        for view in views:
            if view.state == PRIORITY:
                self._manager.reprioritize(self._manager.jobs[view.id])

    async def _reintroduce_dependencies(self, name: str, view: JobView) -> None:
        """What a policy of the same name had undertaken before it was removed."""
        for dependency in _dependencies(view):
            try:
                await _settled(self.host.call_plugin(name, "job_dependency", **self._about(view, dependency)))
            except FluxError as exc:
                if exc.errno != errno.EEXIST:
                    view.raise_exception("dependency", 0, str(exc))
                    return

    def _unload(self, name: str) -> None:
        if name not in self.isolation.processes:
            self.host.call_plugin(name, "plugin_unload", manager=self)
        self.host.unregister(name)
        self.isolation.end(name)
        prefix = os.path.splitext(name.lstrip("."))[0] + "."
        self._services = {topic: entry for topic, entry in self._services.items() if not topic.startswith(prefix)}
        del self._paths[name]

    def remove(self, pattern: str) -> None:
        """Remove the policies that match a glob(7) pattern; a leading dot has to be matched by one.

        Raises:
            FluxError: ENOENT nothing matches; "all", for "*", is never an error.
        """
        glob = "*" if pattern == "all" else pattern
        names = [name for name in self.host.names() if _matches(name, glob)]
        if not names and pattern != "all":
            near = discovery.nearest(pattern, self.host.names())
            hint = f"; did you mean {near}?" if near else ""
            raise FluxError(errno.ENOENT, f"no loaded plugin matches {pattern}{hint}")
        for name in names:
            self._unload(name)

    def remove_all(self) -> None:
        """Remove every policy, the builtin ones too, in reverse order."""
        for name in reversed(self.host.names()):
            self._unload(name)

    async def configure(self, directives: Any) -> None:
        """Carry out `[job-manager] plugins` of the configuration: [{load, conf, remove, isolated, ...}]."""
        if not isinstance(directives, list) or not all(isinstance(entry, dict) for entry in directives):
            raise FluxError(errno.EINVAL, "job-manager.plugins must be an array of tables")
        for entry in directives:
            unknown = entry.keys() - _DIRECTIVE_KEYS
            if unknown:
                near = discovery.nearest(min(unknown), _DIRECTIVE_KEYS)
                hint = f"; did you mean {near}?" if near else f": it takes {', '.join(_DIRECTIVE_KEYS)}"
                raise FluxError(errno.EINVAL, f"job-manager.plugins: unknown key {min(unknown)}{hint}")
            await self.change(entry)

    async def change(self, entry: Mapping[str, Any]) -> None:
        """Remove and load policies as one entry of the configuration says. FluxError when that is not possible."""
        containment = read_containment(entry)
        if "remove" in entry:
            self.remove(entry["remove"])
        if "load" in entry:
            await self.load(entry["load"], entry.get("conf"), containment)
        self.isolation.release()

    async def query(self, name: str) -> dict[str, Any]:
        """What a policy says about itself. FluxError EINVAL when it is not loaded."""
        if name not in self._paths:
            raise FluxError(errno.EINVAL, f"{name}: plugin not found")
        answer: dict[str, Any] = {"name": name, "path": self._paths[name]}
        for part in await _settled(self.host.call_plugin(name, "plugin_query")):
            answer.update(part)
        process = self.isolation.processes.get(name)
        if process is not None:
            answer["isolated"] = process.describe()
        return {**answer, "hooks": self.host.hooks_of(name), "stats": self.host.stats()[name]}

    # -- the manager, as policies see it

    @property
    def conf(self) -> dict[str, Any]:
        return self._manager.conf

    @property
    def expiration(self) -> float:
        return self._manager.lifetime.expiration

    def queue(self, name: str | None) -> Queue:
        return self._manager.queues.get(name)

    def job(self, id: int) -> JobView:
        job = self._manager.job(id)
        if job is None:
            raise FluxError(errno.ENOENT, f"unknown job id {id}")
        return self.view(job)

    def active_jobs(self) -> list[JobView]:
        return [self.view(job) for job in self._manager.jobs.values()]

    def reprioritize_all(self) -> None:
        for job in list(self._manager.jobs.values()):
            self._manager.reprioritize(job)

    def call(self, topic: str, arguments: Mapping[str, Any] | None = None, job: JobView | None = None) -> list[Any]:
        return self.host.call("plugin_call", topic=topic, arguments=arguments or {}, job=job)

    def call_later(self, delay: float, callback: Callable[[], Any]) -> Any:
        return self.flux.loop.call_later(max(delay, 0.0), self._guarded, callback)

    def _guarded(self, callback: Callable[[], Any]) -> None:
        try:
            callback()
        except Exception as exc:
            self._manager.log.exception(f"timer of a policy failed: {exc}", exc)

    def register_service(self, topic: str, callback: Callable[[Message], Any], allow: int = 1) -> None:
        if topic in self._services:
            raise FluxError(errno.EEXIST, f"job-manager.{topic} is served already")
        self._services[topic] = (callback, allow)

    def service(self, topic: str) -> tuple[Callable[[Message], Any], int] | None:
        """The handler of "job-manager.TOPIC" and the roles that may call it; None when there is none."""
        return self._services.get(topic)


def _matches(name: str, glob: str) -> bool:
    return fnmatch.fnmatchcase(name, glob) and (glob.startswith(".") or not name.startswith("."))


def _dependencies(view: JobView) -> Iterable[Mapping[str, Any]]:
    return view.system.get("dependencies") or ()


def _require_scheme(view: JobView, dependency: Mapping[str, Any], answers: list[Any]) -> None:
    """FluxError when no policy knows a scheme; one that cannot be asked just now holds the job and may."""
    if not answers and not any(text.startswith(HOLD) for text in view.dependencies):
        raise FluxError(errno.EINVAL, f'dependency scheme "{dependency["scheme"]}" not supported')


async def _settled(answers: Iterable[Any]) -> list[Any]:
    """Answers of which some have to be waited for."""
    settled = [await answer if inspect.isawaitable(answer) else answer for answer in answers]
    return [answer for answer in settled if answer is not None]
