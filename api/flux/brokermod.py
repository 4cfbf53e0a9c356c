"""Broker modules that block, written as for stock Flux's `flux.brokermod` (the guide to services).

    from flux.brokermod import BrokerModule, request_handler

    class Info(BrokerModule):
        @request_handler("info", allow_guest=True)
        def info(self, msg):
            self.handle.respond(msg, {"name": self.name})

A file with one such class, or with a function `mod_main(handle, *args)`, is a module: it runs in a process of its own
with a blocking `flux.Flux`. `flux.module.Module` is what services of this project are written with.
"""

from __future__ import annotations

import syslog
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from flux.constants import FLUX_MSGTYPE_EVENT, FLUX_MSGTYPE_REQUEST
from flux.message import ROLE_OWNER, ROLE_USER

if TYPE_CHECKING:
    from flux.module.blocking import ModuleHandle

__all__ = ["BrokerLogger", "BrokerModule", "event_handler", "request_handler"]

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "__flux_blocking_handler__"


class _Handled(NamedTuple):
    """What a method handles. prefix: the topic has the module's name before it."""

    type: int
    topic: str
    prefix: bool
    rolemask: int


def request_handler(topic: str, prefix: bool = True, allow_guest: bool = False) -> Callable[[F], F]:
    """Mark a method as the handler of requests; it gets the message, and answers with `handle.respond`.

    Args:
        topic: what comes after "NAME.". prefix: False when it is the whole topic.
        allow_guest: True lets in users who are not the instance's owner; else they get EPERM.
    """
    return _marked(_Handled(FLUX_MSGTYPE_REQUEST, topic, prefix, ROLE_OWNER | (ROLE_USER if allow_guest else 0)))


def event_handler(topic: str, prefix: bool = True) -> Callable[[F], F]:
    """Mark a method as the handler of an event, which the module then subscribes to. Arguments as above."""
    return _marked(_Handled(FLUX_MSGTYPE_EVENT, topic, prefix, ROLE_OWNER))


def _marked(handled: _Handled) -> Callable[[F], F]:
    def mark(method: F) -> F:
        setattr(method, _MARK, handled)
        return method

    return mark


class BrokerLogger:
    """Writes to the instance's log; may be called with (level, text) too.

    Args:
        handle: of the module.
    """

    LEVEL_NAMES: ClassVar[dict[str, int]] = {
        "emerg": syslog.LOG_EMERG,
        "alert": syslog.LOG_ALERT,
        "crit": syslog.LOG_CRIT,
        "err": syslog.LOG_ERR,
        "warning": syslog.LOG_WARNING,
        "notice": syslog.LOG_NOTICE,
        "info": syslog.LOG_INFO,
        "debug": syslog.LOG_DEBUG,
    }

    def __init__(self, handle: ModuleHandle) -> None:
        self._handle = handle
        self._level = syslog.LOG_DEBUG

    @property
    def level(self) -> int:
        """The least urgent level that is written (syslog(3)). Set it by number or name; ValueError for no level."""
        return self._level

    @level.setter
    def level(self, value: int | str) -> None:
        found = self.LEVEL_NAMES.get(value.lower()) if isinstance(value, str) else value
        if found is None or found not in self.LEVEL_NAMES.values():
            raise ValueError(f"{value!r} is no level: {', '.join(self.LEVEL_NAMES)}, or 0 to 7")
        self._level = found

    @property
    def level_name(self) -> str:
        """The same as a name."""
        return list(self.LEVEL_NAMES)[self._level]

    def __call__(self, level: int, text: str) -> None:
        if level <= self._level:
            self._handle.log(level, text)

    def debug(self, text: str) -> None:
        self(syslog.LOG_DEBUG, text)

    def info(self, text: str) -> None:
        self(syslog.LOG_INFO, text)

    def notice(self, text: str) -> None:
        self(syslog.LOG_NOTICE, text)

    def warning(self, text: str) -> None:
        self(syslog.LOG_WARNING, text)

    def error(self, text: str) -> None:
        self(syslog.LOG_ERR, text)

    def critical(self, text: str) -> None:
        self(syslog.LOG_CRIT, text)

    def alert(self, text: str) -> None:
        self(syslog.LOG_ALERT, text)

    def emerg(self, text: str) -> None:
        self(syslog.LOG_EMERG, text)


class BrokerModule:
    """Base class of modules that block.

    Args:
        handle: on the broker, as the loader gives it. args: the module's arguments.

    Attributes:
        handle: a flux.Flux. name: which the module was loaded under. args: words, in their order.
        log: BrokerLogger.
    """

    __flux_blocking__ = True

    def __init__(self, handle: ModuleHandle, *args: str) -> None:
        self._handle = handle
        self._args = args
        self.log = BrokerLogger(handle)
        members = {name: member for base in reversed(type(self).__mro__) for name, member in vars(base).items()}
        for name, member in members.items():
            if handled := getattr(member, _MARK, None):
                self._register(handled, getattr(self, name))

    def _register(self, handled: _Handled, method: Callable[[Any], Any]) -> None:
        topic = f"{self.name}.{handled.topic}" if handled.prefix else handled.topic
        if handled.type == FLUX_MSGTYPE_EVENT:
            self.handle.event_subscribe(topic)
        watcher = self.handle.msg_watcher_create(
            lambda _handle, _watcher, msg, _args: method(msg), handled.type, topic, rolemask=handled.rolemask
        )
        watcher.start()

    @property
    def handle(self) -> ModuleHandle:
        return self._handle

    @property
    def name(self) -> str:
        return self._handle.module_name

    @property
    def args(self) -> tuple[str, ...]:
        return self._args

    def set_running(self) -> None:
        """Have `flux module load` return, before something that takes long; `run` does it too."""
        self.handle.set_running()

    def debug_test(self, flag: int, clear: bool = False) -> bool:
        """True when a bit is set that `flux module debug` sets.

        Args:
            clear: also take it away.
        """
        return self.handle.debug_test(flag, clear)

    def run(self) -> None:
        """Serve until the module is stopped. OSError after `stop_error`; whatever a handler raises ends it too."""
        self.handle.reactor_run()

    def stop(self) -> None:
        """Let `run` return."""
        self.handle.reactor_stop()

    def stop_error(self) -> None:
        """Let `run` raise: the module has failed."""
        self.handle.reactor_stop_error()
