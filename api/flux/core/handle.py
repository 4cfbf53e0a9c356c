"""`flux.Flux`, the blocking handle of scripts and commands (flux_open(3), flux.core.handle)."""

from __future__ import annotations

import errno
from _thread import get_ident  # `threading` has each fork of a job shell's parent run a millisecond more
from collections import deque
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import partial

from flux.constants import FLUX_RQ_HEAD, FLUX_RQ_TAIL
from flux.core.connection import BlockingHandle
from flux.core.reactor import Reactor
from flux.core.watchers import FDWatcher, MessageWatcher, SignalWatcher, TimerWatcher, Watcher
from flux.errors import FluxError
from flux.message import ANY, EVENT, REQUEST, RESPONSE, Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar

__all__ = ["Flux"]


class Flux(BlockingHandle):
    """A connection to a Flux instance.

    Args:
        url: URI such as "local:///path"; default $FLUX_URI. "loop://" sends every message back.
        flags: accepted for programs written for the C bindings; none has a meaning here.
        reconnect: seconds to try for a new connection when this one is lost; 0 does not try. RPCs that are pending
            then fail with ECONNRESET. Subscriptions and services are there again before anything else is sent; a
            request that is made meanwhile waits for that, and fails with ECONNRESET when it takes longer.

    Raises:
        FluxError: ENOENT when there is no instance to connect to; see `flux.core.connect`.
    """

    # of each thread: how many of its calls run a reactor, and what the innermost is to raise
    _reactors: ClassVar[dict[int, int]] = {}
    _exceptions: ClassVar[dict[int, BaseException]] = {}

    def __init__(self, url: str | None = None, flags: int = 0, handle: Any = None, *, reconnect: float = 0) -> None:
        super().__init__(url, reconnect)
        self._queue: deque[Message] = deque()
        self._subscriptions: dict[str, int] = {}
        self._conf: Any = None

    def deliver(self, msg: Message) -> None:
        for watcher in self._watchers:
            if watcher.matches(msg):
                self._hand_over(watcher, msg)
                return
        if msg.type == REQUEST and msg.topic.endswith(".disconnect"):
            return
        if msg.type == REQUEST and self._watchers:
            self.respond_error(msg, errno.ENOSYS, f"Unknown service method '{msg.topic}'")
            return
        if msg.type != RESPONSE:
            self._queue.append(msg)

    def _hand_over(self, watcher: MessageWatcher, msg: Message) -> None:
        if watcher.lets_in(msg):
            self.call_soon(partial(watcher.fire, msg))
        else:
            self.respond_error(msg, errno.EPERM, f"{msg.topic} is not for guests")

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

    def attr_set(self, attr: str, value: str) -> None:
        """Set a broker attribute. FluxError EPERM when it is immutable, ENOENT when it is unknown."""
        self.rpc("attr.set", {"name": attr, "value": value}).get()

    def attr_remove(self, attr: str) -> None:
        """Remove a broker attribute. FluxError EPERM when it is immutable, ENOENT when it is unknown."""
        self.rpc("attr.rm", {"name": attr}).get()
        self.attr_cache.pop(attr, None)

    def conf_get(self, key: str | None = None, default: Any = None, update: bool = False) -> Any:
        """The instance's configuration, asked for once by a handle: all of it, or the value at a dotted key.

        Args:
            default: what there is where the key is not set. update: ask again.
        """
        from flux.treedict import get_treedict

        if update or self._conf is None:
            self._conf = self.rpc("config.get").get()
        return self._conf if key is None else get_treedict(self._conf, key, default)

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
            self._comeback.subscriptions[topic] += 1
        self._subscriptions[topic] = self._subscriptions.get(topic, 0) + 1

    def event_unsubscribe(self, topic: str) -> None:
        """Undo one subscription. FluxError ENOENT when there is none."""
        count = self._subscriptions.get(topic, 0)
        if count == 0:
            raise FluxError(errno.ENOENT, f"not subscribed to {topic!r}")
        self._subscriptions[topic] = count - 1
        if count == 1:
            self._comeback.subscriptions[topic] -= 1
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
        answer = self.rpc("service.add", {"service": name})
        self._comeback.registered(name, answer)
        return answer

    def service_unregister(self, name: str) -> Any:
        self._comeback.unregistered(name)
        return self.rpc("service.remove", {"service": name})

    # -- messages

    def send(self, message: Message, flags: int = 0) -> None:
        """Send a message made by hand."""
        self.send_message(message)

    def recv(
        self, type_mask: int = ANY, match_tag: int = 0, topic_glob: str | None = None, flags: int = 0
    ) -> Message | None:
        """The next request or event that matches, blocking; with flags FLUX_O_NONBLOCK (4), None when there is none.

        Args:
            match_tag: of requests; 0 for any.
        """
        matched: list[Message] = []

        def take() -> bool:
            for i, msg in enumerate(self._queue):
                if (
                    msg.type & type_mask
                    and match_tag in (0, msg.matchtag)
                    and fnmatchcase(msg.topic, topic_glob or "*")
                ):
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

    def requeue(self, message: Message, flags: int = FLUX_RQ_TAIL) -> None:
        """Put a message back for `recv`: at the end of the queue, or with FLUX_RQ_HEAD first (flux_requeue(3)).

        FluxError EINVAL for other flags.
        """
        if flags not in (FLUX_RQ_HEAD, FLUX_RQ_TAIL):
            raise FluxError(errno.EINVAL, f"requeue takes FLUX_RQ_HEAD or FLUX_RQ_TAIL, not {flags}")
        self._queue.insert(0 if flags == FLUX_RQ_HEAD else len(self._queue), message)

    # -- reactor

    def reactor_run(self, reactor: Reactor | None = None, flags: int = 0) -> int:
        """Run callbacks until stopped or nothing is left to wait for; Ctrl-C raises KeyboardInterrupt.

        Args:
            flags: FLUX_REACTOR_NOWAIT: one turn that does not wait; FLUX_REACTOR_ONCE: one turn (flux_reactor_run(3)).

        Returns:
            How many watchers and futures keep the reactor running.
        """
        reactor = reactor or self.get_reactor()
        self.reactor_enter()
        try:
            result = reactor.run(flags)
        finally:
            self.reactor_exit()
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
    def reactor_enter(cls) -> None:
        """Have this thread count as running a Flux reactor, until `reactor_exit`."""
        cls._reactors[get_ident()] = cls._reactors.get(get_ident(), 0) + 1

    @classmethod
    def reactor_exit(cls) -> None:
        left = cls._reactors.pop(get_ident()) - 1
        if left:
            cls._reactors[get_ident()] = left

    @classmethod
    def reactor_running(cls) -> bool:
        """True when this thread is running a Flux reactor."""
        return get_ident() in cls._reactors

    @classmethod
    def set_exception(cls, exception: BaseException | None) -> BaseException | None:
        """Set the exception that `reactor_run` raises in this thread; gives the one set before."""
        previous = cls._exceptions.pop(get_ident(), None)
        if exception is not None:
            cls._exceptions[get_ident()] = exception
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

    def prepare_watcher_create(self, callback: Callable[..., Any], args: Any = None) -> Watcher:
        from flux.core.loop_watchers import PrepareWatcher

        return PrepareWatcher(self, callback, args)

    def check_watcher_create(self, callback: Callable[..., Any], args: Any = None) -> Watcher:
        from flux.core.loop_watchers import CheckWatcher

        return CheckWatcher(self, callback, args)

    def idle_watcher_create(self, callback: Callable[..., Any] | None = None, args: Any = None) -> Watcher:
        from flux.core.loop_watchers import IdleWatcher

        return IdleWatcher(self, callback, args)

    def msg_watcher_create(
        self,
        callback: Callable[..., Any],
        type_mask: int = ANY,
        topic_glob: str = "*",
        args: Any = None,
        match_tag: int = 0,
        rolemask: int | None = None,
    ) -> MessageWatcher:
        """Watch messages.

        Args:
            type_mask: FLUX_MSGTYPE_*. topic_glob: of requests and events. match_tag: of responses, 0 for any.
            rolemask: senders of requests that are let in, FLUX_ROLE_*; default the instance owner. Others get EPERM.
        """
        return MessageWatcher(self, type_mask, callback, topic_glob, match_tag, args, rolemask)

    def add_message_watcher(self, watcher: MessageWatcher) -> None:
        self._watchers.insert(0, watcher)

    def remove_message_watcher(self, watcher: MessageWatcher) -> None:
        self._watchers.remove(watcher)
