"""A policy in a process of its own: asked over a socket, watched, started again when it dies, left alone when it keeps
dying (flux-jobtap-plugins(7), ISOLATION).

The job manager never waits for it: a call gives a future. Calls that a process leaves unanswered go to its successor,
so that its death changes no job's outcome; one that kills two processes is answered as the policy's `on_error` says.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import itertools
import time
from collections import deque
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Protocol

import msgspec

from flux.errors import FluxError
from flux.hooks import jobtap
from flux.hooks.jobtap import UNAVAILABLE
from flux_plugins.job_manager.policy_child import Child
from flux_plugins.job_manager.policy_wire import unpack_result
from flux_plugins.job_manager.view import JobView

__all__ = ["ASKED", "Containment", "Home", "PolicyHolds", "PolicyProcess"]

ATTEMPTS = 2
"""A call that this many processes died of is not made again."""
DEATHS, WITHIN = 3, 60.0
"""So many deaths in so many seconds open the circuit."""
COOL_DOWN = 30.0
"""Seconds until a policy whose circuit is open is tried again."""
LOAD_TIME = 60.0
"""Seconds that a process may take to load its policy."""

_SUBMISSION = ("job_create", "job_validate", "job_dependency")
_STATES = ("job_state_depend", "job_state_priority", "job_state_sched", "job_state_run", "job_state_cleanup")
ASKED = {*_SUBMISSION, *_STATES, "job_priority_get", "job_update_request", "plugin_query", "job_explain"}
"""Hooks whose answer matters; of the others the process is told."""


class Containment(msgspec.Struct, frozen=True):
    """What a policy may cost, and what becomes of jobs when it cannot be asked.

    Attributes:
        isolated: in a process of its own. deadline: seconds for one hook.
        on_error: "hold" its jobs, "refuse" them, or "ignore" the policy.
        memory_limit: MiB of address space of its process, 0 for no limit.
    """

    isolated: bool = False
    deadline: float = 5.0
    on_error: str = "hold"
    memory_limit: int = 0


class PolicyHolds(Exception):
    """An isolated policy cannot be asked about a submission, and its jobs are to be held."""


class Home(Protocol):
    """The job manager, as the process of a policy needs it."""

    def description(self, name: str) -> dict[str, Any]:
        """What a policy is loaded with: conf, expiration, uri."""

    def is_back(self, process: PolicyProcess) -> None:
        """A new process has taken over: introduce the active jobs."""

    def tell(self, name: str, state: str, reason: str) -> None:
        """Publish what happened. state: "restart", "open" or "closed"."""

    def perform(self, name: str, id: int, method: str, arguments: list[Any]) -> None:
        """Do what the policy asks for. id: of the job, 0 for the manager itself."""

    def look_up(self, what: str, argument: Any) -> Any:
        """Answer a question of the policy's."""

    def serve(self, process: PolicyProcess, topic: str, allow: int) -> None:
        """The policy answers requests of a topic."""

    def fault(self, name: str, hook: str, text: str) -> None:
        """The policy failed where nobody waits for it."""


class Call:
    """A question, until it is answered. attempts: processes that died of it."""

    __slots__ = ("answer", "attempts", "hook", "message")

    def __init__(self, hook: str, message: dict[str, Any], answer: asyncio.Future[Any]) -> None:
        self.hook, self.message, self.answer, self.attempts = hook, message, answer, 0


class PolicyProcess:
    """The job manager's side of an isolated policy.

    Attributes:
        file: of the policy. hooks: that it implements. load_order: see flux-jobtap-plugins(7).
        broken: why it is not asked at present, "" while it is. restarts: how often its process was replaced.
    """

    def __init__(
        self, name: str, reference: str, options: Mapping[str, Any], containment: Containment, home: Home
    ) -> None:
        self.name, self.containment = name, containment
        self.file, self.hooks, self.broken, self.restarts = "", [], "", 0
        self.load_order = "none"
        self.seconds = 0.0
        self._load = {"op": "load", "name": name, "reference": reference, "options": dict(options)}
        self._load["memory_limit"] = containment.memory_limit
        self._home = home
        self._loop = asyncio.get_running_loop()
        self._count = itertools.count(1)
        self._calls: dict[int, Call] = {}
        self._parked: list[Call] = []
        self._deaths: deque[float] = deque(maxlen=DEATHS)
        self._child: Child | None = None
        self._ready = False
        self._reason = ""
        self._timer: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._loaded: asyncio.Future[None] | None = None

    # -- life

    async def start(self) -> None:
        """Start it for the first time. FluxError when the policy cannot be loaded."""
        self._loaded = self._loop.create_future()
        self._spawn()
        await self._loaded

    def _spawn(self) -> None:
        self._ready, self._reason = False, ""
        self._child = Child(self._loop, self._take, self._died)
        self._child.send({**self._load, **self._home.description(self.name)})
        self._arm()

    def end(self) -> None:
        """Remove it: what waits for it goes on without it."""
        if self._ready:
            self._send({"op": "notify", "hook": "plugin_unload", "arguments": {}})
        for timer in (self._timer, self._retry):
            if timer is not None:
                timer.cancel()
        if self._child is not None:
            self._child.close(self.containment.deadline)
            self._child = None
        for call in [*self._calls.values(), *self._parked]:
            _resolve(call, None)
        self._calls.clear()
        self._parked.clear()

    @property
    def pid(self) -> int:
        """Of its process, 0 while there is none."""
        return 0 if self._child is None else self._child.process.pid

    def waits_for(self, jobid: int) -> bool:
        """True while it has yet to answer a question about a job."""
        calls = [*self._calls.values(), *self._parked]
        return any(call.hook != "job_explain" and (call.message.get("job") or {}).get("id") == jobid for call in calls)

    def describe(self) -> dict[str, Any]:
        """For `flux jobtap query`."""
        limits = {"deadline": self.containment.deadline, "on-error": self.containment.on_error}
        state = {"pid": self.pid, "restarts": self.restarts, "seconds": self.seconds}
        return {**limits, **state, "waiting": len(self._calls) + len(self._parked), "broken": self.broken}

    def _died(self, how: str) -> None:
        reason = self._reason or f"process {self.pid} {how}"
        self._child, self._ready = None, False
        self._disarm()
        if self._loaded is not None and not self._loaded.done():
            self._loaded.set_exception(FluxError(errno.ECHILD, f"{self.name}: {reason} while it was being loaded"))
            return
        self._blame(reason)
        self._deaths.append(time.monotonic())
        if len(self._deaths) == DEATHS and self._deaths[-1] - self._deaths[0] < WITHIN:
            self._open(reason)
            return
        self.restarts += 1
        self._home.tell(self.name, "restart", reason)
        self._spawn()

    def _blame(self, reason: str) -> None:
        """The oldest call is the one that was being worked on."""
        seq = next(iter(self._calls), 0)
        if not seq:
            return
        call = self._calls[seq]
        call.attempts += 1
        if call.attempts == ATTEMPTS:
            del self._calls[seq]
            self._answer_for(call, reason)

    # -- the circuit

    def _open(self, reason: str) -> None:
        self.broken = reason
        calls, self._calls = self._calls, {}
        for call in calls.values():
            self._answer_for(call, reason)
        self._home.tell(self.name, "open", reason)
        self._retry = self._loop.call_later(COOL_DOWN, self._try_again)

    def _try_again(self) -> None:
        self._deaths.clear()
        self.restarts += 1
        self._spawn()

    def _answer_for(self, call: Call, reason: str) -> None:
        """Answer in place of a policy that cannot be asked."""
        on_error = self.containment.on_error
        if call.hook in ("plugin_query", "job_explain", "job_state_cleanup") or on_error == "ignore":
            _resolve(call, None)
        elif on_error == "refuse" or call.hook == "job_update_request":
            _resolve(call, error=FluxError(errno.EAGAIN, f"policy {self.name} cannot decide: {reason}"))
        elif call.hook in _SUBMISSION:
            _resolve(call, error=PolicyHolds(reason))
        elif call.hook == "job_priority_get":
            _resolve(call, UNAVAILABLE)
        else:
            self._parked.append(call)

    def _take_over(self, hooks: list[str]) -> None:
        """A process has loaded the policy: it gets what its predecessor left."""
        self._ready = True
        if self._loaded is not None and not self._loaded.done():
            self.hooks = hooks
            self._loaded.set_result(None)
            return
        was_broken, self.broken = self.broken, ""
        self._home.is_back(self)
        left, self._calls = [*self._calls.values()], {}
        left += [call for call in self._parked if call.attempts < ATTEMPTS]
        self._parked = [call for call in self._parked if call.attempts >= ATTEMPTS]
        for call in left:
            self._submit(call)
        if was_broken:
            self._home.tell(self.name, "closed", "")

    # -- calls

    def plugin(self) -> SimpleNamespace:
        """An object that implements the policy's hooks by asking the process, for a PluginHost."""
        return SimpleNamespace(**{hook: self._forward(hook) for hook in self.hooks})

    def _forward(self, hook: str) -> Any:
        specification = getattr(jobtap, hook)
        names = specification.__code__.co_varnames[: specification.__code__.co_argcount]

        @functools.wraps(specification)
        def implementation(*values: Any) -> Any:
            return self.call(hook, dict(zip(names, values, strict=True)))

        return jobtap.hookimpl(implementation)

    def call(self, hook: str, arguments: dict[str, Any]) -> asyncio.Future[Any] | None:
        """Ask, or tell: the future of an answer, None when there is none to wait for."""
        job: JobView | None = arguments.pop("job", None)
        arguments.pop("manager", None)
        if hook != "conf_update":
            arguments.pop("conf", None)
        message = {"op": "call", "hook": hook, "arguments": arguments, "job": job.snapshot() if job else None}
        if hook not in ASKED:
            self._notify(hook, message)
            return None
        return self._ask(Call(hook, message, self._loop.create_future()))

    def tell(self, hook: str, **arguments: Any) -> None:
        """Call a hook for what it does, not for its answer."""
        job: JobView = arguments.pop("job")
        self._notify(hook, {"hook": hook, "arguments": arguments, "job": job.snapshot()})

    def follow(self, view: JobView, event: Mapping[str, Any]) -> None:
        """Tell it of an event of a job that it has subscribed to."""
        if self._ready:
            self._send({"op": "event", "event": event, "job": view.snapshot()})

    def request(self, request: dict[str, Any]) -> asyncio.Future[Any]:
        """Have a service of the policy's answer a request: {topic, payload, userid, rolemask}."""
        call = Call("job_update_request", {"op": "service", "request": request}, self._loop.create_future())
        return self._ask(call)

    def _ask(self, call: Call) -> asyncio.Future[Any]:
        if self.broken:
            self._answer_for(call, self.broken)
        else:
            self._submit(call)
        return call.answer

    def _submit(self, call: Call) -> None:
        seq = next(self._count)
        call.message["seq"] = seq
        self._calls[seq] = call
        if self._ready:
            self._send(call.message)
            self._arm()

    def _notify(self, hook: str, message: dict[str, Any]) -> None:
        if not self._ready:
            return
        self._send({**message, "op": "notify"})
        if hook == "job_destroy":
            self._send({"op": "forget", "id": message["job"]["id"]})

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._child is not None:
            self._child.send(message)

    # -- the deadline: of the call that is being worked on, which is the oldest

    def _arm(self) -> None:
        if self._timer is None and (self._calls or not self._ready):
            limit = self.containment.deadline if self._ready else LOAD_TIME
            self._timer = self._loop.call_later(limit, self._late)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        what = next(iter(self._calls.values())).hook if self._ready else "loading it"
        limit = self.containment.deadline if self._ready else LOAD_TIME
        self._reason = f"{what} took longer than {limit:g}s"
        if self._child is not None:
            self._child.kill()

    # -- what the process says

    def _take(self, message: dict[str, Any]) -> None:
        op = message["op"]
        if op in ("result", "error"):
            self._disarm()
            self._answered(message)
            self._arm()
        elif op == "loaded":
            self._disarm()
            self.file, self.load_order = message["file"], message["load_order"]
            self._take_over(message["hooks"])
        elif op == "do":
            self._home.perform(self.name, message["id"], message["method"], message["arguments"])
        elif op == "ask":
            self._found(message)
        elif op == "serve":
            self._home.serve(self, message["topic"], message["allow"])

    def _answered(self, message: dict[str, Any]) -> None:
        call = self._calls.pop(message["seq"], None)
        self.seconds += message.get("seconds", 0.0)
        if message["op"] == "result":
            if call is not None:
                _resolve(call, unpack_result(message))
        elif message["hook"] == "load" and not self._ready:
            self._not_loaded(FluxError(message["errno"], message["text"]))
        elif call is None:
            self._home.fault(self.name, message["hook"], message["text"])
        elif message["meant"]:
            _resolve(call, error=FluxError(message["errno"], message["text"]))
        else:
            self._home.fault(self.name, message["hook"], message["text"])
            call.attempts = ATTEMPTS
            self._answer_for(call, f"{message['hook']}: {message['text']}")

    def _not_loaded(self, error: FluxError) -> None:
        if self._loaded is not None and not self._loaded.done():
            self._loaded.set_exception(error)
            return
        if self._child is not None:
            self._child.close(0.0)
            self._child = None
        self._open(str(error))

    def _found(self, message: dict[str, Any]) -> None:
        try:
            answer = {"value": self._home.look_up(message["what"], message["argument"]), "error": None}
        except FluxError as exc:
            answer = {"value": None, "error": [exc.errno, str(exc)]}
        self._send({"op": "found", **answer})


def _resolve(call: Call, result: Any = None, error: Exception | None = None) -> None:
    if call.answer.done():
        return
    if error is None:
        call.answer.set_result(result)
    else:
        call.answer.set_exception(error)
