"""Runs one module over a handle: dispatch, default methods, containment of errors (RFC 5).

The broker uses it for modules in its own process, `flux.module.exec` for isolated ones.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from flux.core.aio import AsyncFlux
from flux.core.tasks import Tasks
from flux.errors import EndOfStream, FluxError, as_flux_error
from flux.message import EVENT, FLAG_NORESPONSE, FLAG_STREAMING, REQUEST, Message
from flux.module.base import DEFERRED, Handler, Kind, Module
from flux.module.defaults import DEFAULT_HANDLERS, Counters
from flux.module.log import make_logger
from flux.module.options import decode_options

if TYPE_CHECKING:
    from flux.module.subscribers import Subscribers

__all__ = ["FINISH_TIME", "ModuleRunner", "Welcome"]


FINISH_TIME = 3.0
"""Seconds that a module which is exchanged for another has to answer what it began."""


class Welcome(msgspec.Struct):
    """What a module is told at start (RFC 5 welcome request)."""

    name: str
    uuid: str
    args: Mapping[str, Any]
    attrs: dict[str, str]
    conf: dict[str, Any]


class ModuleRunner:
    """One loaded module.

    Args:
        cls: the module's class.
        welcome: name, arguments, attributes and configuration.
        flux: the module's handle; its messages are dispatched here.
        broker: the broker, for a module in its process.

    Attributes:
        on_task_failed: called with a line on each task that ended with an exception.
    """

    def __init__(self, cls: type[Module], welcome: Welcome, flux: AsyncFlux, broker: Any = None) -> None:
        self.name = welcome.name
        self.uuid = welcome.uuid
        self.flux = flux
        self.counters = Counters()
        self.subscribers: list[Subscribers] = []
        self.tasks = Tasks(self.name, self._task_failed)
        self.on_task_failed: Callable[[str], None] = lambda _text: None
        self.errors = 0
        self.last_error = ""
        self.last_active = time.monotonic()
        self.stopping = False
        self.debug_flags = 0
        self.exit_requested = asyncio.Event()
        self.graceful = False
        self._calls: set[asyncio.Task[Any]] = set()
        self._streams: dict[tuple[str, int], tuple[asyncio.Task[Any], Message]] = {}
        self.instance = self._make(cls, welcome, broker)
        self.log = self.instance.log
        self._handlers, self._events = self._collect()
        self.receive: Callable[[Message], None] = self.dispatch
        flux.on_message = self.receive

    def _make(self, cls: type[Module], welcome: Welcome, broker: Any) -> Module:
        flux = self.flux
        flux.log_name = welcome.name
        flux.attr_cache.update(welcome.attrs)
        options = decode_options(welcome.name, welcome.args, cls.options_type)
        instance = cls.__new__(cls)
        instance.flux, instance.log, instance.options = flux, make_logger(flux, welcome.name), options
        instance.attrs, instance.conf, instance.broker = flux.attr_cache, welcome.conf, broker
        instance.module_name, instance.runner = welcome.name, self
        type(instance).__init__(instance)
        return instance

    def _collect(self) -> tuple[dict[str, tuple[Handler, Callable[..., Any]]], dict[str, Callable[..., Any]]]:
        handlers: dict[str, tuple[Handler, Callable[..., Any]]] = {}
        events: dict[str, Callable[..., Any]] = {}
        for handler, function in DEFAULT_HANDLERS.items():
            handlers[f"{self.name}.{handler.topic}"] = (handler, function.__get__(self))
        for attribute, requests, topics in type(self.instance).handlers():
            bound = getattr(self.instance, attribute)
            for handler in requests:
                handlers[f"{handler.service or self.name}.{handler.topic}"] = (handler, bound)
                if handler.cancel:
                    cancel = DEFAULT_CANCEL._replace(topic=handler.cancel)
                    handlers[f"{handler.service or self.name}.{handler.cancel}"] = (
                        cancel,
                        self.cancel_stream,
                    )
            for topic in topics:
                events[topic] = bound
        return handlers, events

    def divert(self, receive: Callable[[Message], None]) -> Callable[[Message], None]:
        """Have messages for the module go to a function, instead of the one given back, to which it may pass them."""
        before, self.receive = self.receive, receive
        if self.flux.on_message == before:
            self.flux.on_message = receive
        return before

    def adopt(self, other: ModuleRunner) -> None:
        """Answer what another module of this process handles for this one's service."""
        self._handlers.update({topic: entry for topic, entry in other._handlers.items() if self._owns(topic)})

    def disown(self, other: ModuleRunner) -> None:
        """Undo `adopt`."""
        for topic in filter(self._owns, other._handlers):
            self._handlers.pop(topic, None)

    def _owns(self, topic: str) -> bool:
        return topic.partition(".")[0] == self.name

    async def event_subscribe(self, topic: str, function: Callable[..., Any]) -> None:
        """Call function with each event whose topic starts with topic."""
        self._events[topic] = function
        await self.flux.event_subscribe(topic)

    async def event_unsubscribe(self, topic: str) -> None:
        """End a subscription made by `event_subscribe`."""
        self._events.pop(topic, None)
        await self.flux.event_unsubscribe(topic)

    # -- life cycle

    async def start(self) -> None:
        """Start the module: services and subscriptions, then its own `start`."""
        for service in self.instance.provides:
            if service != self.name:
                await self.flux.service_register(service)
        for topic in [*self._events, f"{self.name}.stats-clear"]:
            await self.flux.event_subscribe(topic)
        result = self.instance.start()
        if result is not None:
            await result

    def request_exit(self, graceful: bool = False) -> None:
        """The module was asked to shut down (RFC 5); whoever runs it calls `stop`, graceful: `finish` before."""
        self.graceful = graceful
        self.exit_requested.set()

    async def finish(self) -> None:
        """Let requests that are being worked on be answered, for at most `FINISH_TIME`; streams do not count."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=FINISH_TIME)

    async def stop(self) -> None:
        """Stop the module; what it has not answered gets ENOSYS."""
        self.stopping = True
        try:
            result = self.instance.stop()
            if result is not None:
                await result
        finally:
            pending = [msg for _, msg in self._streams.values()]
            for subscribers in self.subscribers:
                subscribers.end(errno.ENOSYS, f"{self.name} is being unloaded")
            await self.tasks.cancel_all()
            for msg in pending:
                self.flux.respond_error(msg, errno.ENOSYS, f"{self.name} is being unloaded")

    # -- dispatch

    def dispatch(self, msg: Message) -> None:
        """Handle one request or event."""
        self.counters.count_rx(msg.type)
        self.last_active = time.monotonic()
        self.flux.log_topic = msg.topic
        if msg.type == REQUEST:
            self._dispatch_request(msg)
        elif msg.type == EVENT:
            self._dispatch_event(msg)
        self.flux.log_topic = ""

    def _dispatch_request(self, msg: Message) -> None:
        entry = self._handlers.get(msg.topic)
        if entry is None:
            if not msg.topic.endswith(".disconnect"):
                self.flux.respond_error(msg, errno.ENOSYS, f"Unknown service method '{msg.topic}'")
            return
        handler, function = entry
        try:
            if not msg.rolemask & handler.allow and not msg.rolemask & 1:
                raise FluxError(errno.EPERM, "Request requires owner credentials")
            if handler.streaming is True and not msg.flags & FLAG_STREAMING:
                raise FluxError(errno.EPROTO, f"{msg.topic} needs the streaming flag")
            result = function(msg) if handler.payload is None else function(msg, msg.decode(handler.payload))
        except Exception as exc:
            self.respond_exception(msg, exc)
            return
        if handler.kind is Kind.PLAIN:
            if result is None or type(result) is dict:
                self._respond(msg, result)
            elif inspect.isawaitable(result):
                self._track(msg, self._await(msg, result), stream=False)
            elif result is not DEFERRED:
                self._respond(msg, result)
        elif handler.kind is Kind.COROUTINE:
            self._track(msg, self._await(msg, result), stream=bool(handler.streaming))
        else:
            self._track(msg, self._iterate(msg, result), stream=True)

    def _respond(self, msg: Message, result: Any) -> None:
        if not msg.flags & FLAG_NORESPONSE:
            self.flux.send_message(msg.respond(result))

    def _track(self, msg: Message, coro: Any, stream: bool) -> None:
        task = self.tasks.spawn(coro, msg.topic)
        key = (msg.sender, msg.matchtag)
        if stream and msg.matchtag:
            self._streams[key] = (task, msg)
            task.add_done_callback(lambda _task: self._streams.pop(key, None))
        elif not stream:
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)

    async def _await(self, msg: Message, result: Awaitable[Any]) -> None:
        try:
            value = await result
        except asyncio.CancelledError:
            if self.stopping:
                self.flux.respond_error(msg, errno.ENOSYS, f"{self.name} is being unloaded")
            raise
        except Exception as exc:
            self.respond_exception(msg, exc)
        else:
            if value is not DEFERRED:
                self._respond(msg, value)

    async def _iterate(self, msg: Message, results: AsyncIterator[Any]) -> None:
        try:
            async for payload in results:
                self._respond(msg, payload)
                if not msg.flags & FLAG_STREAMING:
                    return
        except Exception as exc:
            self.respond_exception(msg, exc)
        else:
            self.flux.respond_error(msg, errno.ENODATA)

    def _dispatch_event(self, msg: Message) -> None:
        if msg.topic == f"{self.name}.stats-clear":
            self.clear_stats()
        for prefix, function in self._events.items():
            if msg.topic.startswith(prefix):
                self._call_event(function, msg)

    def _call_event(self, function: Callable[..., Any], msg: Message) -> None:
        try:
            result = function(msg)
        except Exception as exc:
            self._failed(f"event {msg.topic}", exc)
            return
        if inspect.iscoroutine(result):
            self.tasks.spawn(result, msg.topic)

    # -- errors

    def respond_exception(self, msg: Message, exc: BaseException) -> None:
        """Answer with the error of an exception; an unexpected one is logged with its traceback."""
        if not isinstance(exc, OSError):
            self._failed(msg.topic, exc)
        error = as_flux_error(exc, msg.topic)
        text = str(error) if error.has_text and not isinstance(error, EndOfStream) else ""
        self.flux.respond_error(msg, error.errno, text)

    def _task_failed(self, name: str, exc: BaseException) -> None:
        self._failed(name, exc)
        self.on_task_failed(self.last_error)

    def _failed(self, where: str, exc: BaseException) -> None:
        self.errors += 1
        self.last_error = f"{where}: {type(exc).__name__}: {exc}"
        self.log.exception(f"{where} failed", exc)

    # -- streams and statistics

    def cancel_stream(self, msg: Message) -> Any:
        """A client asks to end one of its streams."""
        matchtag = (msg.payload or {}).get("matchtag", 0)
        entry = self._streams.pop((msg.sender, matchtag), None)
        if entry is not None:
            entry[0].cancel()
            self.flux.respond_error(entry[1], errno.ENODATA)
        for subscribers in self.subscribers:
            subscribers.cancel(msg.sender, matchtag)
        return DEFERRED

    def disconnect(self, sender: str) -> None:
        """A client went away: end its streams without answering."""
        for key in [key for key in self._streams if key[0] == sender]:
            self._streams.pop(key)[0].cancel()
        for subscribers in self.subscribers:
            subscribers.drop_sender(sender)
        self.instance.disconnected(sender)

    def clear_stats(self) -> None:
        self.counters.clear()
        self.instance.stats_clear()


DEFAULT_CANCEL = next(handler for handler in DEFAULT_HANDLERS if handler.topic == "cancel")
