"""The base class of services and the decorators that mark their request and event handlers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterator, Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NamedTuple, TypeVar

import msgspec

from flux.message import ROLE_ADMIN, ROLE_OWNER, ROLE_USER, Message

if TYPE_CHECKING:
    import asyncio

    from flux.core.aio import AsyncFlux
    from flux.hooks.kernel import Broker
    from flux.module.log import Logger
    from flux.module.runner import ModuleRunner

__all__ = ["ADMIN", "ALL", "DEFERRED", "OWNER", "USER", "Handler", "Module", "Transport", "event", "request"]

OWNER: Final = ROLE_OWNER
ADMIN: Final = ROLE_OWNER | ROLE_ADMIN
USER: Final = ROLE_OWNER | ROLE_USER | ROLE_ADMIN
ALL: Final = 0xFFFFFFFF


class _Deferred(Enum):
    DEFERRED = auto()


DEFERRED: Final = _Deferred.DEFERRED
"""Returned by a handler that responds later, with `Module.respond` or `Module.respond_error`."""

_REQUESTS, _EVENTS = "__flux_requests__", "__flux_events__"
F = TypeVar("F", bound=Callable[..., Any])
Streaming = bool | Literal["optional"]


class Kind(Enum):
    """How a handler is called: its result used at once, awaited, or iterated."""

    PLAIN = auto()
    COROUTINE = auto()
    GENERATOR = auto()


class Handler(NamedTuple):
    """One request handler: method name, method of the class, and its contract."""

    attribute: str
    topic: str
    service: str
    allow: int
    streaming: Streaming
    payload: type | None
    cancel: str
    kind: Kind


def request(
    topic: str,
    *,
    allow: int = OWNER,
    streaming: Streaming = False,
    payload: type | None = None,
    service: str = "",
    cancel: str = "",
) -> Callable[[F], F]:
    """Mark a method as the handler of requests "NAME.topic".

    The method gets the request message, and the decoded payload as second argument when `payload` is given.
    It may be a function, a coroutine, or (streaming) an asynchronous generator of response payloads.
    What it returns is the response; an OSError it raises is the error response.

    Args:
        topic: method name, without the service's.
        allow: roles that may call: OWNER (default), ADMIN, USER or ALL (RFC 12). Others get EPERM.
        streaming: True refuses requests without the streaming flag (EPROTO); "optional" takes both.
        payload: msgspec struct type; a payload that does not fit is refused with EPROTO and the field's name.
        service: another service of this module (one of `provides`) that the topic belongs to.
        cancel: name of the method that ends one of these streams, given {matchtag} (ENODATA).
    """

    def mark(method: F) -> F:
        handler = Handler(method.__name__, topic, service, allow, streaming, payload, cancel, _kind(method))
        method.__dict__.setdefault(_REQUESTS, []).append(handler)
        return method

    return mark


def event(topic: str) -> Callable[[F], F]:
    """Mark a method as the handler of events whose topic starts with topic; subscribed while the module runs."""

    def mark(method: F) -> F:
        method.__dict__.setdefault(_EVENTS, []).append(topic)
        return method

    return mark


def _kind(method: Callable[..., Any]) -> Kind:
    if inspect.isasyncgenfunction(method):
        return Kind.GENERATOR
    if inspect.iscoroutinefunction(method):
        return Kind.COROUTINE
    return Kind.PLAIN


class Module:
    """A service.

    Class attributes declare what the composition checks before anything starts:

    Attributes:
        name: default module name, and so the service it provides.
        provides: further service names.
        requires: services or plugins that must be there, on this rank or upstream.
        after, before: plugins of the same composition to start after, or before.
        ranks: where it runs by default: "all", "0", or an idset.
        stage: "boot" starts before the instance is joined, "run" after.
        options_type: struct type of the arguments it takes; None for none.
        isolatable: False when it needs the broker's own process.
        run_by: the Python module to execute in a process of its own; with another than the default it always has one.
        reloadable: False when the instance cannot go on with a new instance of it, which knows nothing.

    Instance attributes, set before `start`:
        flux: the asyncio handle. log: the module's log. options: the decoded arguments.
        attrs: cacheable broker attributes (RFC 5 welcome). conf: the instance's configuration.
        broker: the broker itself, for modules in its process; None when isolated.
    """

    name: ClassVar[str] = ""
    provides: ClassVar[tuple[str, ...]] = ()
    requires: ClassVar[tuple[str, ...]] = ()
    after: ClassVar[tuple[str, ...]] = ()
    before: ClassVar[tuple[str, ...]] = ()
    ranks: ClassVar[str] = "all"
    stage: ClassVar[Literal["boot", "run"]] = "run"
    options_type: ClassVar[type[msgspec.Struct] | None] = None
    isolatable: ClassVar[bool] = True
    run_by: ClassVar[str] = "flux.module.exec"
    reloadable: ClassVar[bool] = True

    flux: AsyncFlux
    log: Logger
    options: Any
    attrs: dict[str, str]
    conf: dict[str, Any]
    broker: Broker
    module_name: str
    runner: ModuleRunner
    _marked: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        """Find the handlers once for all brokers that are forked later: to look is to write, and so to copy."""
        super().__init_subclass__(**options)
        members = {name: member for base in reversed(cls.__mro__) for name, member in vars(base).items()}
        cls._marked = tuple(
            name for name, member in members.items() if hasattr(member, _EVENTS) or hasattr(member, _REQUESTS)
        )

    @classmethod
    def handlers(cls) -> Iterator[tuple[str, Sequence[Handler], Sequence[str]]]:
        """Each method that was marked: its name, the requests and the event topics that it handles."""
        for name in cls._marked:
            member = getattr(cls, name)
            yield name, getattr(member, _REQUESTS, ()), getattr(member, _EVENTS, ())

    # -- life cycle, overridden by services

    @classmethod
    def prefork(cls, options: Any) -> None:
        """Called in a fresh broker process that has no thread, event loop, socket or database yet.

        Not called for modules loaded at run time.
        """

    def start(self) -> Coroutine[Any, Any, None] | None:
        """Get ready; requests are served when this returns. An exception makes the load fail."""
        return None

    def stop(self) -> Coroutine[Any, Any, None] | None:
        """Give back what `start` took; the handle still works."""
        return None

    def stats(self) -> dict[str, Any]:
        """What `NAME.stats-get` shows beside the message counts."""
        return {}

    def stats_clear(self) -> None:
        """Reset the counters in `stats`."""

    def disconnected(self, sender: str) -> None:
        """A client went away (RFC 6 disconnect); its streams have been ended already."""

    def reconfigured(self, conf: dict[str, Any]) -> None:
        """The configuration changed. Raise FluxError to refuse it."""

    # -- what services call

    @property
    def rank(self) -> int:
        return int(self.attrs["rank"])

    @property
    def size(self) -> int:
        return int(self.attrs["size"])

    def spawn(self, coro: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run a coroutine as a task of this module; an exception is logged and marks the module."""
        return self.runner.tasks.spawn(coro, name)

    async def event_subscribe(self, topic: str, function: Callable[[Message], Any]) -> None:
        """Call function with each event whose topic starts with topic, as `@event` does for topics known beforehand."""
        await self.runner.event_subscribe(topic, function)

    async def event_unsubscribe(self, topic: str) -> None:
        await self.runner.event_unsubscribe(topic)

    def respond(self, msg: Message, payload: Any = None) -> None:
        """Answer a request whose handler returned DEFERRED."""
        self.flux.respond(msg, payload)

    def respond_error(self, msg: Message, error: BaseException) -> None:
        """Answer a request whose handler returned DEFERRED with an error."""
        self.runner.respond_exception(msg, error)


class Transport(Module):
    """A module that brings links to the switch of its broker (`self.broker.switch`)."""

    stage = "boot"
    isolatable = False
    reloadable = False
