"""Hooks of the job manager (flux-jobtap-plugins(7)): what a job policy may implement.

    from flux.hooks.jobtap import hookimpl, reject

    @hookimpl
    def job_validate(job, conf):
        if job.jobspec.duration == 0:
            reject("a time limit is required here")

A policy is a `.py` file, a module or a class with such functions; each takes any subset of its hook's arguments.
Policies are called in the order they were loaded. All hooks since 0.1; hooks and arguments are added, never removed.

When a policy is loaded it is told of the active jobs, in no order, or as its attribute `load_order` asks for: "state",
from DEPEND to CLEANUP, each by id, or "-state", from CLEANUP to DEPEND (flux_jobtap_set_load_sort_order(3)).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, Protocol

import pluggy

from flux.errors import FluxError
from flux.hooks.host import ErrorPolicy, hook_policy

if TYPE_CHECKING:
    from flux.core.aio import AsyncFlux
    from flux.job.Jobspec import Jobspec
    from flux.message import Message

__all__ = [
    "UNAVAILABLE",
    "Allowed",
    "Job",
    "JobRejected",
    "Manager",
    "Queue",
    "hookimpl",
    "hookspec",
    "reject",
]

hookspec = pluggy.HookspecMarker("flux.jobtap")
hookimpl = pluggy.HookimplMarker("flux.jobtap")

Event = Mapping[str, Any]
"""An eventlog entry (RFC 18): {"timestamp": float, "name": str, "context"?: object}. Read-only."""


class JobRejected(FluxError):
    """Raised by `reject`; its text is the answer to the request (EINVAL)."""

    def __new__(cls, text: str) -> JobRejected:
        return OSError.__new__(cls, errno.EINVAL, text)

    def __init__(self, text: str) -> None:
        super().__init__(errno.EINVAL, text)

    def __reduce__(self) -> tuple[Any, ...]:
        return JobRejected, (self.strerror,)


def reject(text: str) -> NoReturn:
    """Refuse the submission or update at hand; text is what the user sees (flux_jobtap_reject_job(3))."""
    raise JobRejected(text)


class _Unavailable(Enum):
    UNAVAILABLE = auto()


UNAVAILABLE: Final = _Unavailable.UNAVAILABLE
"""Returned in place of a priority that is not known yet (flux_jobtap_priority_unavail(3))."""


class Allowed(NamedTuple):
    """Returned by `job_update_request` for a key that may be updated.

    Attributes:
        updates: dotted path to value, to be updated with it.
        validated: need not pass `job_validate` with its new jobspec, unless another key of the request does.
        feasibility: the scheduler is to be asked whether the job could ever run with its new jobspec.
    """

    updates: Mapping[str, Any] = {}
    validated: bool = False
    feasibility: bool = False


class Queue(Protocol):
    """A queue, as policies see it; read-only.

    Attributes:
        name: "" for the only one of an instance without named queues.
        enable: takes jobs. start: jobs get resources. requires: names of properties its resources have.
    """

    name: str
    enable: bool
    start: bool
    requires: list[str]


class Job(Protocol):
    """A job, as policies see it. Everything but `aux` is read-only.

    Attributes:
        id: job id. userid: its owner. flags: submission flags (1 debug, 2 waitable, 4 novalidate).
        urgency: 0 to 31. priority: 0 to 4294967295, -1 while it has none.
        state: FLUX_JOB_STATE_*. t_submit: seconds since the epoch.
        jobspec: the jobspec, environment redacted. system: its `attributes.system` as a dict.
        R: resource set (RFC 20), None while it has none. annotations: RFC 27 annotations.
        started: its shells have started. status: wait status of the finish event, -1 before.
        result: FLUX_JOB_RESULT_* once it has ended; None before.
        end_event: the fatal exception or the finish event, whichever came first; None before.
        dependencies: descriptions of the dependencies that are not met yet.
        perilogs: descriptions of the prologs and epilogs that it waits for.
        aux: a place for policies to keep what belongs to this job; not kept over a restart.
    """

    id: int
    userid: int
    flags: int
    urgency: int
    priority: int
    state: int
    t_submit: float
    jobspec: Jobspec
    system: dict[str, Any]
    R: dict[str, Any] | None
    annotations: dict[str, Any]
    started: bool
    status: int
    result: int | None
    end_event: Event | None
    dependencies: Iterable[str]
    perilogs: Iterable[str]
    aux: dict[str, Any]

    def dependency_add(self, description: str) -> bool:
        """Keep the job in DEPEND until `dependency_remove`; possible until it leaves DEPEND.

        Returns:
            False when the job waits for one of this description already: nothing is added.

        Raises:
            FluxError: EEXIST when it had one of this description before, which was met. From `job_dependency` after a
                restart or at load this does no harm: the dependency counts as met.
        """

    def dependency_remove(self, description: str) -> None:
        """A dependency is met. FluxError ENOENT when the job has none of that description."""

    def raise_exception(self, type: str, severity: int, note: str = "") -> None:
        """Raise a job exception (RFC 21). severity: 0 (fatal) to 7."""

    def post_event(self, name: str, context: Mapping[str, Any] | None = None) -> None:
        """Append to the job's eventlog. FluxError EINVAL for a name of RFC 21 that changes the job's state."""

    def has_event(self, name: str) -> bool:
        """Whether an event of that name was posted to the job (flux_jobtap_job_event_posted(3))."""

    def set_flag(self, name: str) -> None:
        """Set a submission flag, "debug" or "immutable". FluxError EINVAL for any other."""

    def jobspec_update(self, updates: Mapping[str, Any]) -> None:
        """Update the jobspec, unasked and unchecked; a job in SCHED goes back to PRIORITY.

        Args:
            updates: dotted path, such as "attributes.system.duration", to new value.

        FluxError EINVAL once the job has got its resources, and for a path outside of attributes.
        """

    def subscribe(self, callback: Callable[[Job, Event], Any]) -> None:
        """Have callback(job, event) called for each further event of this job, until it is inactive.

        Cheaper than `job_event`, which is called for the events of all jobs. What is subscribed to is forgotten when
        the job manager restarts: subscribe in `job_create`, or in `job_new` where an isolated policy may miss the
        first events. Unsubscribe in `plugin_unload`.
        """

    def unsubscribe(self, callback: Callable[[Job, Event], Any]) -> None: ...

    def reprioritize(self, priority: int) -> None:
        """Assign a priority, at any time while the job is in PRIORITY or SCHED."""

    def annotate(self, annotations: Mapping[str, Any]) -> None:
        """Merge into the job's annotations (RFC 27); null removes a key."""

    def prolog_start(self, description: str) -> None:
        """Keep the job from being started until `prolog_finish` of the same description."""

    def prolog_finish(self, description: str, status: int) -> None: ...

    def epilog_start(self, description: str) -> None:
        """Keep the job's resources from being freed until `epilog_finish` of the same description."""

    def epilog_finish(self, description: str, status: int) -> None: ...


class Manager(Protocol):
    """The job manager, as policies see it.

    Attributes:
        flux: its asyncio handle (flux_jobtap_get_flux(3)). conf: the instance's configuration.
        expiration: when the instance's resources expire, seconds since the epoch; 0.0 for never.
    """

    flux: AsyncFlux
    conf: dict[str, Any]
    expiration: float

    def queue(self, name: str | None) -> Queue:
        """A queue by its name, None for the one without. FluxError EINVAL when there is none of that name."""

    def job(self, id: int) -> Job:
        """An active or inactive job. FluxError ENOENT when there is none of that id."""

    def active_jobs(self) -> Iterable[Job]: ...

    def reprioritize_all(self) -> None:
        """Ask for the priority of every job in PRIORITY and SCHED again."""

    def call(self, topic: str, arguments: Mapping[str, Any] | None = None, job: Job | None = None) -> list[Any]:
        """Call `plugin_call` of all policies (flux_jobtap_call(3)).

        Returns:
            What they return and is not None; isolated ones are told, and not waited for.
        """

    def call_later(self, delay: float, callback: Callable[[], Any]) -> Any:
        """Call back after delay seconds; the result has `cancel()`. An exception is logged."""

    def register_service(self, topic: str, callback: Callable[[Message], Any], allow: int = 1) -> None:
        """Serve requests "job-manager.TOPIC": callback(msg) gives the response payload (flux_jobtap_get_flux(3)).

        Args:
            topic: "NAME.METHOD", NAME being the plugin's.
            allow: roles that may call it (RFC 12), by default the instance owner.
        """


@hookspec
@hook_policy(ErrorPolicy.FATAL)
def plugin_load(manager: Manager, options: Mapping[str, Any]) -> None:
    """The policy is being loaded; nothing else of it has been called. An error makes the load fail.

    Args:
        options: what it was given with `flux jobtap load PLUGIN KEY=VAL` or `conf` in the configuration.
    """


@hookspec
def plugin_unload(manager: Manager) -> None:
    """The policy is being removed: stop timers, give back what it holds."""


@hookspec
def plugin_query() -> Mapping[str, Any] | None:
    """`flux jobtap query`: what the policy has to say about itself, as a JSON object."""


@hookspec
@hook_policy(ErrorPolicy.REFUSE)
def plugin_call(topic: str, arguments: Mapping[str, Any], job: Job | None) -> Any:
    """Another policy calls its own topic with `manager.call`. An error is raised in that policy."""


@hookspec
@hook_policy(ErrorPolicy.REFUSE)
def conf_update(conf: Mapping[str, Any]) -> None:
    """The policy was loaded, or the configuration changes. An error refuses the load or the change."""


@hookspec
@hook_policy(ErrorPolicy.REFUSE)
def job_create(job: Job, conf: Mapping[str, Any]) -> None:
    """A job has been submitted, before it is validated; also at restart and load, for active jobs.

    `reject` or an error refuses the submission.
    """


@hookspec
@hook_policy(ErrorPolicy.REFUSE)
def job_validate(job: Job, conf: Mapping[str, Any]) -> None:
    """May this job be submitted? `reject` or an error refuses it; account for it in `job_new`, not here."""


@hookspec(firstresult=True)
@hook_policy(ErrorPolicy.REFUSE)
def job_dependency(job: Job, scheme: str, dependency: Mapping[str, Any], manager: Manager) -> bool | None:
    """Called once for each entry of `attributes.system.dependencies` of a new job, also at restart.

    Args:
        dependency: the entry, {"scheme": str, "value": str, ...}.

    Returns:
        True when the scheme is this policy's: it has called `job.dependency_add`, or the dependency is met.
        None when it is not; a scheme that is nobody's refuses the job.
    """


@hookspec
def job_new(job: Job) -> None:
    """A job has been accepted; also at restart and when the policy is loaded, for active jobs in any state."""


@hookspec
@hook_policy(ErrorPolicy.EXCEPTION)
def job_state_depend(job: Job, event: Event, prev_state: int) -> None:
    """The job has entered DEPEND: the last chance to call `job.dependency_add`."""


@hookspec
@hook_policy(ErrorPolicy.EXCEPTION)
def job_state_priority(job: Job, event: Event, prev_state: int) -> int | Any:
    """The job has entered PRIORITY.

    Returns:
        Its priority, or UNAVAILABLE; of several policies the last that returns either decides.
    """


@hookspec
@hook_policy(ErrorPolicy.EXCEPTION)
def job_state_sched(job: Job, event: Event, prev_state: int) -> Mapping[str, Any] | None:
    """The job has entered SCHED.

    Returns:
        A resource set (RFC 20) to run on at once, without asking the scheduler; or None.
    """


@hookspec
@hook_policy(ErrorPolicy.EXCEPTION)
def job_state_run(job: Job, event: Event, prev_state: int) -> None:
    """The job has got its resources; it is started once no prolog is active."""


@hookspec
def job_state_cleanup(job: Job, event: Event, prev_state: int) -> None:
    """The job has finished or has a fatal exception; it is freed once no epilog is active."""


@hookspec
def job_state_inactive(job: Job, event: Event, prev_state: int) -> None:
    """The job is over."""


@hookspec
def job_priority_get(job: Job) -> int | Any:
    """The job's priority is wanted again: its urgency changed, or somebody called `reprioritize`.

    Returns:
        As `job_state_priority`. UNAVAILABLE in SCHED leaves the priority as it is.
    """


@hookspec
def job_event(job: Job, event: Event) -> None:
    """An event has been posted to the job's eventlog, whatever its name; after the hooks of its state change."""


@hookspec(firstresult=True)
@hook_policy(ErrorPolicy.REFUSE)
def job_update_request(
    job: Job, key: str, value: Any, userid: int, rolemask: int
) -> Allowed | bool | Mapping[str, Any] | None:
    """Somebody asks for a jobspec update (`flux update`).

    Args:
        key: dotted path in the jobspec, "attributes.system.duration" for one.
        userid, rolemask: who asks (RFC 12).

    Returns:
        `Allowed`, or in short True, or an object of keys and values to update with it; None when the key is not
        this policy's. `reject` refuses; a key that is nobody's is refused.
    """


@hookspec
def job_update(job: Job, updates: Mapping[str, Any]) -> None:
    """The jobspec has been updated. updates: dotted path to new value."""


@hookspec
def job_explain(job: Job) -> str | None:
    """`flux job explain`: what this policy keeps the job waiting for, as a sentence; None when it does not."""


@hookspec
def job_inactive_add(job: Job) -> None:
    """The job has been added to the inactive jobs; also at restart."""


@hookspec
def job_inactive_remove(job: Job) -> None:
    """The job is being purged."""


@hookspec
def job_destroy(job: Job) -> None:
    """The job manager forgets the job: it was refused or purged."""
