"""Isolated policies: their processes, and what these may ask of the job manager (flux-jobtap-plugins(7), ISOLATION)."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flux.errors import FluxError
from flux_plugins.job_manager.job import DEPEND, NEW
from flux_plugins.job_manager.machine import IllegalEvent
from flux_plugins.job_manager.policy_process import ASKED, Containment, PolicyHolds, PolicyProcess
from flux_plugins.job_manager.view import JobView

if TYPE_CHECKING:
    from flux.message import Message
    from flux_plugins.job_manager.manager import Manager
    from flux_plugins.job_manager.policies import Policies

__all__ = ["Isolation", "read_containment"]

HOLD = "policy="
"""Description of the dependency of a job that waits for a policy which could not be asked."""
_DOINGS = frozenset(
    "dependency_add dependency_remove raise_exception post_event set_flag jobspec_update reprioritize annotate "
    "prolog_start prolog_finish epilog_start epilog_finish".split()
)


def read_containment(settings: Mapping[str, Any]) -> Containment:
    """From keys of the configuration or a request: isolated, deadline, on-error, memory-limit.

    Raises:
        FluxError: EINVAL a value is none, or stands without `isolated`.
    """
    from flux.util import parse_fsd

    isolated = settings.get("isolated", False)
    extra = sorted(settings.keys() & {"deadline", "on-error", "memory-limit"})
    if not isinstance(isolated, bool):
        raise FluxError(errno.EINVAL, f"isolated must be true or false, not {isolated!r}")
    if extra and not isolated:
        raise FluxError(errno.EINVAL, f"{extra[0]} is for isolated policies: add isolated")
    on_error, memory = settings.get("on-error", "hold"), settings.get("memory-limit", 0)
    if on_error not in ("hold", "refuse", "ignore"):
        raise FluxError(errno.EINVAL, f"on-error must be hold, refuse or ignore, not {on_error!r}")
    if isinstance(memory, bool) or not isinstance(memory, int) or memory < 0:
        raise FluxError(errno.EINVAL, f"memory-limit must be a number of MiB, not {memory!r}")
    try:
        deadline = parse_fsd(str(settings.get("deadline", Containment().deadline)))
    except ValueError as exc:
        raise FluxError(errno.EINVAL, f"deadline: {exc}") from None
    if not 0 < deadline < float("inf"):
        raise FluxError(errno.EINVAL, "deadline must be greater than 0")
    return Containment(isolated, deadline, on_error, memory)


class Isolation:
    """The processes of the policies that have one (`policy_process.Home`)."""

    def __init__(self, policies: Policies, manager: Manager) -> None:
        self._policies, self._manager = policies, manager
        self._poison: set[tuple[str, int]] = set()
        self.processes: dict[str, PolicyProcess] = {}

    async def start(
        self, name: str, reference: str, options: Mapping[str, Any], containment: Containment
    ) -> PolicyProcess:
        """Start the process of a policy. FluxError when it cannot be loaded there."""
        process = PolicyProcess(name, reference, options, containment, self)
        self.processes[name] = process
        try:
            await process.start()
        except FluxError:
            self.end(name)
            raise
        return process

    def end(self, name: str) -> None:
        """End the process of a policy, if it has one."""
        process = self.processes.pop(name, None)
        if process is not None:
            process.end()
            self._manager.subscriptions.drop(process.follow)
            self._poison = {entry for entry in self._poison if entry[0] != name}

    def implements(self, hook: str) -> bool:
        """True when answers to a hook have to be waited for."""
        return hook in ASKED and any(hook in process.hooks for process in self.processes.values())

    def broken(self) -> dict[str, str]:
        """Policy to why it is not asked at present."""
        return {name: process.broken for name, process in self.processes.items() if process.broken}

    def asking(self, jobid: int) -> list[list[str]]:
        """Policies whose answer about a job is outstanding, and why they are not asked, or ""."""
        return [[name, p.broken] for name, p in self.processes.items() if p.waits_for(jobid)]

    # -- jobs that wait for a policy which could not be asked

    def hold(self, view: JobView, name: str) -> None:
        """Accept a submission, and hold the job until the policy can be asked."""
        if not self.processes[name].broken:
            self._poison.add((name, view.id))
        view.dependency_add(HOLD + name)

    def release(self) -> None:
        """Ask policies about the jobs that they hold; let those of removed ones go."""
        for job in list(self._manager.jobs.values()):
            view = self._policies.view(job)
            for description in [text for text in view.dependencies if text.startswith(HOLD)]:
                name = description.removeprefix(HOLD)
                process = self.processes.get(name)
                if process is None and name not in self._policies.host.names():
                    view.dependency_remove(description)
                elif (process is None or not process.broken) and (name, view.id) not in self._poison:
                    self._manager.spawn(self._ask_again(view, name, description), f"{name}: ask again")

    async def _ask_again(self, view: JobView, name: str, description: str) -> None:
        try:
            await self._policies.ask_one(name, view)
        except PolicyHolds:
            if not self.processes[name].broken:
                self._poison.add((name, view.id))
        except FluxError as exc:
            view.raise_exception("jobtap", 0, str(exc))
        else:
            if description in view.dependencies:
                view.dependency_remove(description)

    # -- what a process asks for

    def description(self, name: str) -> dict[str, Any]:
        uri = self._manager.uri
        return {"conf": self._policies.conf, "expiration": self._policies.expiration, "uri": uri}

    def is_back(self, process: PolicyProcess) -> None:
        for job in list(self._manager.jobs.values()):
            if job.state == NEW:
                continue
            view = self._policies.view(job)
            process.tell("job_create", job=view)
            if job.state == DEPEND:
                for dependency in view.system.get("dependencies") or ():
                    process.tell("job_dependency", job=view, scheme=dependency["scheme"], dependency=dependency)
            process.tell("job_new", job=view)
        self._manager.flux.loop.call_soon(self.release)

    def tell(self, name: str, state: str, reason: str) -> None:
        if state == "closed":
            self._manager.log.info(f"jobtap {name}: is asked again")
        else:
            what = "its process is replaced" if state == "restart" else "is not asked any more for a while"
            self._manager.log.error(f"jobtap {name}: {reason}: {what}")
            self._policies.host.count_error(name, reason)
        self._manager.flux.event_send("jobtap", {"name": name, "state": state, "reason": reason})

    def perform(self, name: str, id: int, method: str, arguments: list[Any]) -> None:
        try:
            if method == "reprioritize_all":
                self._policies.reprioritize_all()
            elif method in ("subscribe", "unsubscribe"):
                getattr(self._policies.job(id), method)(self.processes[name].follow)
            elif method in _DOINGS:
                getattr(self._policies.job(id), method)(*arguments)
        except (FluxError, IllegalEvent) as exc:
            self.fault(name, method, str(exc))

    def look_up(self, what: str, argument: Any) -> Any:
        if what == "queue":
            queue = self._policies.queue(argument)
            return {field: getattr(queue, field) for field in ("name", "enable", "start", "requires")}
        if what == "job":
            return self._policies.job(argument).snapshot()
        if what == "has_event":
            return self._policies.job(argument[0]).has_event(argument[1])
        if what == "call":
            topic, arguments, id = argument
            return self._policies.call(topic, arguments, self._policies.job(id) if id else None)
        return [view.snapshot() for view in self._policies.active_jobs()]

    def serve(self, process: PolicyProcess, topic: str, allow: int) -> None:
        async def answer(msg: Message) -> Any:
            request = {"topic": topic, "payload": msg.payload, "userid": msg.userid, "rolemask": msg.rolemask}
            return await process.request(request)

        try:
            self._policies.register_service(topic, answer, allow)
        except FluxError as exc:
            if not process.restarts:
                self.fault(process.name, "register_service", str(exc))

    def fault(self, name: str, hook: str, text: str) -> None:
        self._manager.log.error(f"jobtap {name}: {hook}: {text}")
        if name in self._policies.host.names():
            self._policies.host.count_error(name, f"{hook}: {text}")
