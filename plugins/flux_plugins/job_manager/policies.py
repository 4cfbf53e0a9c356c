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
from flux_plugins.job_manager.job import DEPEND, Job
from flux_plugins.job_manager.queues import Queue
from flux_plugins.job_manager.view import JobView

if TYPE_CHECKING:
    from flux_plugins.job_manager.manager import Manager

__all__ = ["Policies"]


class Policies:
    """The loaded policies, and the manager as they see it (`flux.hooks.jobtap.Manager`)."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._paths: dict[str, str] = {}
        self._services: dict[str, tuple[Callable[[Message], Any], int]] = {}
        self.host = PluginHost("job-manager", jobtap, self._failed)
        self.flux = manager.flux

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

    def admit(self, job: Job) -> None:
        """Ask the policies about a job that was submitted. FluxError when one refuses it."""
        view = self.view(job)
        self.host.call("job_create", job=view, conf=self.conf)
        self.host.call("job_validate", job=view, conf=self.conf)
        self.introduce(job)

    def introduce(self, job: Job) -> None:
        """Tell the policies of a job, new or found at restart. FluxError when nobody knows one of its dependencies."""
        view = self.view(job)
        if job.state <= DEPEND:
            for dependency in view.system.get("dependencies") or ():
                self._add_dependency(view, dependency)
        self.call_for(job, "job_new")

    def _add_dependency(self, view: JobView, dependency: Mapping[str, Any]) -> None:
        scheme = dependency["scheme"]
        if not self.host.call("job_dependency", job=view, scheme=scheme, dependency=dependency, manager=self):
            raise FluxError(errno.EINVAL, f'dependency scheme "{scheme}" not supported')

    def _failed(self, failure: HookFailure) -> None:
        error, log = failure.error, self._manager.log
        if isinstance(error, FluxError) and failure.policy in (ErrorPolicy.REFUSE, ErrorPolicy.FATAL):
            raise error
        log.exception(f"jobtap {failure}", error)
        if failure.policy in (ErrorPolicy.REFUSE, ErrorPolicy.FATAL):
            raise FluxError(errno.EINVAL, f"{failure.plugin}: {failure.hook}: {type(error).__name__}: {error}")
        view = failure.arguments.get("job")
        if failure.policy is ErrorPolicy.EXCEPTION and isinstance(view, JobView):
            view.raise_exception("jobtap", 0, str(failure))

    # -- loading

    def load(self, reference: str, options: Mapping[str, Any] | None = None) -> str:
        """Load a policy by installed name, dotted path or file; gives the name it goes by.

        Raises:
            FluxError: ENOENT it is not there; EEXIST it is loaded already; EINVAL it is no policy, or it refuses.
        """
        plugin, origin = discovery.load("jobtap", reference)
        name = os.path.basename(origin.entry.target) if origin.entry.is_file else origin.entry.name
        self.host.register(plugin() if inspect.isclass(plugin) else plugin, name)
        self._paths[name] = origin.file
        try:
            self.host.call_plugin(name, "plugin_load", manager=self, options=dict(options or {}))
            self.host.call_plugin(name, "conf_update", conf=self.conf)
            self._introduce_jobs(name)
        except FluxError:
            self._unload(name)
            raise
        return name

    def _introduce_jobs(self, name: str) -> None:
        for job in list(self._manager.jobs.values()):
            self.host.call_plugin(name, "job_create", job=self.view(job), conf=self.conf)
            self.host.call_plugin(name, "job_new", job=self.view(job))

    def _unload(self, name: str) -> None:
        self.host.call_plugin(name, "plugin_unload", manager=self)
        self.host.unregister(name)
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

    def configure(self, directives: Any) -> None:
        """Carry out `[job-manager] plugins` of the configuration: [{load, conf, remove}]."""
        if not isinstance(directives, list) or not all(isinstance(entry, dict) for entry in directives):
            raise FluxError(errno.EINVAL, "job-manager.plugins must be an array of tables")
        for entry in directives:
            unknown = entry.keys() - {"load", "conf", "remove"}
            if unknown:
                text = f"job-manager.plugins: unknown key {min(unknown)}: it takes load, conf and remove"
                raise FluxError(errno.EINVAL, text)
            if "remove" in entry:
                self.remove(entry["remove"])
            if "load" in entry:
                self.load(entry["load"], entry.get("conf"))

    def query(self, name: str) -> dict[str, Any]:
        """What a policy says about itself. FluxError EINVAL when it is not loaded."""
        if name not in self._paths:
            raise FluxError(errno.EINVAL, f"{name}: plugin not found")
        answer: dict[str, Any] = {"name": name, "path": self._paths[name]}
        for part in self.host.call_plugin(name, "plugin_query"):
            answer.update(part)
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
