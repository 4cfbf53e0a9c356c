"""`flux.Flux`, the blocking handle of scripts and commands (flux_open(3), flux.core.handle)."""

from __future__ import annotations

import errno
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from flux.core.base import Handle
from flux.core.connect import open_socket, resolve_uri
from flux.core.reactor import FLUX_POLLIN, Reactor
from flux.core.session import lost
from flux.core.watchers import FDWatcher, MessageWatcher, SignalWatcher, TimerWatcher
from flux.errors import FluxError, ProtocolError
from flux.message import ANY, EVENT, REQUEST, RESPONSE, FrameDecoder, Message, encode_frame

__all__ = ["Flux"]

_NOWAIT = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)  # as a number: flags of an enum cost at each use
_READ_SIZE = 65536  # below the size from which malloc maps and unmaps memory for each read


class Flux(Handle):
    """A connection to a Flux instance.

    Args:
        url: URI such as "local:///path"; default $FLUX_URI. "loop://" sends every message back.
        flags: accepted for programs written for the C bindings; none has a meaning here.

    Raises:
        FluxError: ENOENT when there is no instance to connect to; see `flux.core.connect`.
    """

    tls = threading.local()

    def __init__(self, url: str | None = None, flags: int = 0, handle: Any = None) -> None:
        super().__init__()
        self.uri = resolve_uri(url)
        self._loop = self.uri.startswith("loop://")
        self._sock: socket.socket | None = None if self._loop else open_socket(self.uri)
        self._decoder = FrameDecoder()
        self._queue: deque[Message] = deque()
        self._watchers: list[MessageWatcher] = []
        self._subscriptions: dict[str, int] = {}
        self._reactor: Reactor | None = None

    # -- connection

    def close(self) -> None:
        """Close the connection; pending RPCs fail with ECONNRESET."""
        if self._reactor is not None and self._sock is not None:
            self._reactor.remove_fd(self._sock.fileno())
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        if self.session.error is None:
            self.session.fail(lost("the handle was closed"))

    def __enter__(self) -> Flux:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Descriptor of the connection; -1 for loop:// and closed handles."""
        return -1 if self._sock is None else self._sock.fileno()

    def send_message(self, msg: Message) -> None:
        if self._loop:
            self.call_soon(lambda: self.session.receive(msg))
            return
        if self._sock is None:
            raise self.session.error or lost("the handle is closed")
        data = encode_frame(msg)
        try:
            sent = self._sock.send(data, _NOWAIT)
        except BlockingIOError:
            sent = 0
        except OSError as exc:
            raise self._broken(exc) from None
        if sent < len(data):
            self._send_rest(memoryview(data)[sent:])

    def _send_rest(self, data: memoryview) -> None:
        """Finish a send while taking what comes in, so that two full sockets cannot block each other."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN | select.POLLOUT)
        while data and self._sock is not None:
            for _fd, events in poll.poll():
                if events & (select.POLLIN | select.POLLHUP):
                    self._read()
                if events & select.POLLOUT:
                    try:
                        data = data[self._sock.send(data, _NOWAIT) :]
                    except OSError as exc:
                        raise self._broken(exc) from None

    def _broken(self, exc: OSError) -> FluxError:
        error = FluxError(exc.errno or errno.EIO, f"{self.uri}: {exc.strerror}")
        self.session.fail(error)
        return error

    def _read(self, block: bool = False) -> None:
        """Take what the socket holds and dispatch it."""
        assert self._sock is not None
        try:
            data = self._sock.recv(_READ_SIZE, 0 if block else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError as exc:
            raise self._broken(exc) from None
        if not data:
            self.session.fail(lost(f"{self.uri}: the broker closed the connection"))
            self._unwatch()
            return
        try:
            messages = self._decoder.feed(data)
        except ProtocolError as exc:
            self.session.fail(exc)
            raise
        for msg in messages:
            self.session.receive(msg)

    def _unwatch(self) -> None:
        if self._reactor is not None and self._sock is not None:
            self._reactor.remove_fd(self._sock.fileno())

    def wait_until(self, ready: Callable[[], bool], timeout: float = -1.0) -> None:
        """Receive until ready() is true. FluxError ETIMEDOUT after timeout seconds (negative: never)."""
        deadline = None if timeout < 0 else time.monotonic() + timeout
        while not ready():
            if self._loop:
                self.get_reactor().run_once(0.0)
                continue
            if self.session.error is not None:
                raise self.session.error
            assert self._sock is not None
            if deadline is not None:
                left = max(0.0, deadline - time.monotonic())
                if not select.select([self._sock], [], [], left)[0]:
                    raise FluxError(errno.ETIMEDOUT, f"nothing came within {timeout:g}s")
            self._read(block=True)

    def deliver(self, msg: Message) -> None:
        for watcher in self._watchers:
            if watcher.matches(msg):
                self.call_soon(partial(watcher.fire, msg))
                return
        if msg.type == REQUEST and msg.topic.endswith(".disconnect"):
            return
        if msg.type == REQUEST and self._watchers:
            self.respond_error(msg, errno.ENOSYS, f"Unknown service method '{msg.topic}'")
            return
        if msg.type != RESPONSE:
            self._queue.append(msg)

    # -- attributes, events, services

    def attr_get(self, attr_name: str) -> str:
        """Value of a broker attribute. FluxError ENOENT when it is not set (flux_attr_get(3))."""
        value = self.attr_cache.get(attr_name)
        if value is None:
            answer = self.rpc("attr.get", {"name": attr_name}).get()
            value = str(answer["value"])
            if answer["flags"] & 1:
                self.attr_cache[attr_name] = value
        return value

    def attr_set(self, attr_name: str, value: str) -> None:
        """Set a broker attribute. FluxError EPERM when it is immutable, ENOENT when it is unknown."""
        self.rpc("attr.set", {"name": attr_name, "value": value}).get()

    def log(self, level: int, fstring: str) -> None:
        self.get_rank()  # a log line carries its broker's rank
        super().log(level, fstring)

    def get_rank(self) -> int:
        return int(self.attr_get("rank"))

    def get_size(self) -> int:
        return int(self.attr_get("size"))

    def own_rank(self) -> int:
        return self.get_rank()

    def event_subscribe(self, topic: str) -> None:
        """Receive events whose topic starts with topic; counted, one unsubscribe for each."""
        if not isinstance(topic, str):
            raise TypeError(f"topic must be a string, not {type(topic).__name__}")
        if self._subscriptions.get(topic, 0) == 0:
            self.rpc("event.subscribe", {"topic": topic}).get()
        self._subscriptions[topic] = self._subscriptions.get(topic, 0) + 1

    def event_unsubscribe(self, topic: str) -> None:
        """Undo one subscription. FluxError ENOENT when there is none."""
        count = self._subscriptions.get(topic, 0)
        if count == 0:
            raise FluxError(errno.ENOENT, f"not subscribed to {topic!r}")
        self._subscriptions[topic] = count - 1
        if count == 1:
            self.rpc("event.unsubscribe", {"topic": topic}).get()

    def event_recv(self, topic: str | None = None) -> Message:
        """The next event, blocking; with a topic, the next whose topic starts with it."""
        found = self.recv(EVENT, topic_glob="*" if topic is None else topic + "*")
        assert found is not None
        return found

    def event_publish(self, topic: str, payload: Any = None, private: bool = False) -> int:
        """Publish an event and give its sequence number, once rank 0 has accepted it."""
        from base64 import b64encode

        from flux.message import FLAG_PRIVATE

        request: dict[str, Any] = {"topic": topic, "flags": FLAG_PRIVATE if private else 0}
        raw = Message(EVENT, topic, payload).raw
        if raw is not None:
            request["payload"] = b64encode(raw).decode()
        return int(self.rpc("event.publish", request, nodeid=0).get()["seq"])

    def service_register(self, name: str) -> Any:
        """Future of registering a service; its requests then come to this handle's message watchers."""
        return self.rpc("service.add", {"service": name})

    def service_unregister(self, name: str) -> Any:
        return self.rpc("service.remove", {"service": name})

    # -- messages

    def send(self, message: Message, flags: int = 0) -> None:
        """Send a message made by hand."""
        self.send_message(message)

    def recv(
        self, type_mask: int = ANY, match_tag: int = 0, topic_glob: str | None = None, flags: int = 0
    ) -> Message | None:
        """The next message that matches, blocking; with flags FLUX_O_NONBLOCK (4), None when there is none."""
        matched: list[Message] = []

        def take() -> bool:
            for i, msg in enumerate(self._queue):
                if msg.type & type_mask and fnmatchcase(msg.topic, topic_glob or "*"):
                    matched.append(msg)
                    del self._queue[i]
                    return True
            return False

        if flags & 4:
            if self._sock is not None:
                self._read()
            take()
        else:
            self.wait_until(take)
        return matched[0] if matched else None

    def requeue(self, message: Message) -> None:
        """Put a message back at the end of the receive queue (flux_requeue(3))."""
        self._queue.append(message)

    # -- reactor

    def get_reactor(self) -> Reactor:
        if self._reactor is None:
            self._reactor = Reactor()
            if self._sock is not None:
                self._reactor.add_fd(self._sock.fileno(), FLUX_POLLIN, lambda _events: self._read())
        return self._reactor

    def reactor_run(self, reactor: Reactor | None = None, flags: int = 0) -> int:
        """Run callbacks until stopped or nothing is left to wait for; Ctrl-C raises KeyboardInterrupt."""
        reactor = reactor or self.get_reactor()
        self.tls.depth = getattr(self.tls, "depth", 0) + 1
        try:
            result = reactor.run()
        finally:
            self.tls.depth -= 1
        self.raise_if_exception()
        return result

    def reactor_stop(self, reactor: Reactor | None = None) -> None:
        (reactor or self.get_reactor()).stop()

    def reactor_stop_error(self, reactor: Reactor | None = None) -> None:
        (reactor or self.get_reactor()).stop_error()

    def reactor_incref(self, reactor: Reactor | None = None) -> None:
        (reactor or self.get_reactor()).incref()

    def reactor_decref(self, reactor: Reactor | None = None) -> None:
        (reactor or self.get_reactor()).decref()

    def in_reactor(self) -> bool:
        return self._reactor is not None and self._reactor.running

    @classmethod
    def reactor_running(cls) -> bool:
        """True when this thread is running a Flux reactor."""
        return getattr(cls.tls, "depth", 0) > 0

    @classmethod
    def set_exception(cls, exception: BaseException | None) -> BaseException | None:
        """Set the exception that `reactor_run` raises in this thread; gives the one set before."""
        previous = getattr(cls.tls, "exception", None)
        cls.tls.exception = exception
        return previous

    @classmethod
    def raise_if_exception(cls) -> None:
        """Raise the exception set by `set_exception`, once."""
        exception = cls.set_exception(None)
        if exception is not None:
            raise exception from None

    def call_later(self, delay: float, callback: Callable[[], Any]) -> Any:
        return self.get_reactor().call_later(delay, callback)

    def call_soon(self, callback: Callable[[], Any]) -> None:
        self.get_reactor().call_soon(callback)

    def hold(self, future: Any) -> None:
        self.get_reactor().incref()

    def release(self, future: Any) -> None:
        self.get_reactor().decref()

    def timer_watcher_create(
        self, after: float, callback: Callable[..., Any], repeat: float = 0.0, args: Any = None
    ) -> TimerWatcher:
        return TimerWatcher(self, after, callback, repeat, args)

    def fd_watcher_create(
        self, fd_int: int, callback: Callable[..., Any], events: int | None = None, args: Any = None
    ) -> FDWatcher:
        return FDWatcher(self, fd_int, events, callback, args)

    def signal_watcher_create(self, signum: int, callback: Callable[..., Any], args: Any = None) -> SignalWatcher:
        return SignalWatcher(self, signum, callback, args)

    def msg_watcher_create(
        self,
        callback: Callable[..., Any],
        type_mask: int = ANY,
        topic_glob: str = "*",
        args: Any = None,
        match_tag: int = 0,
    ) -> MessageWatcher:
        return MessageWatcher(self, type_mask, callback, topic_glob, match_tag, args)

    def add_message_watcher(self, watcher: MessageWatcher) -> None:
        self._watchers.insert(0, watcher)

    def remove_message_watcher(self, watcher: MessageWatcher) -> None:
        self._watchers.remove(watcher)
