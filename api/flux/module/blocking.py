"""Loader of a module that blocks (`flux.brokermod`): `python -m flux.module.blocking TARGET` in a process of its own.

FLUX_MODULE_URI names the inherited channel (fd://N). TARGET is a dotted path or a `.py` file (RFC 5).
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import syslog
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

from flux.core.handle import Flux
from flux.core.reactor import Reactor
from flux.discovery import load
from flux.errors import FluxError, as_flux_error
from flux.message import EVENT, REQUEST, Message
from flux.module.base import DEFERRED
from flux.module.defaults import DEFAULT_HANDLERS, Counters
from flux.module.greeting import EXITED, FINALIZING, RUNNING, WelcomeRequest

__all__ = ["ModuleHandle", "main"]


class ModuleHandle(Flux):
    """The handle of a module: the connection to its broker.

    What comes in while its reactor does not run is kept until it does, or is asked for with `recv`.

    Attributes:
        module_name: which the module was loaded under. uuid: by which the broker knows it. args: its arguments.
        counters: of messages. debug_flags: as `flux module debug` sets them.
    """

    def __init__(self, uri: str) -> None:
        self.counters = Counters()
        self.debug_flags = 0
        self._reported = self._serving = False
        super().__init__(uri)
        greeting = self.recv(REQUEST, topic_glob="welcome")
        assert greeting is not None
        welcome = greeting.decode(WelcomeRequest)
        self.module_name = self.log_name = welcome.name
        self.uuid = welcome.uuid
        self.args = welcome.args
        self.attr_cache.update(welcome.attrs)
        self.set_conf(welcome.conf)

    def set_conf(self, conf: dict[str, Any]) -> None:
        """Take a configuration for what `conf_get` answers."""
        self._conf = conf

    def set_running(self) -> None:
        """Tell the broker that the module runs, once."""
        if not self._reported:
            self._reported = True
            self.report(RUNNING)

    def report(self, status: int, errnum: int = 0, text: str = "") -> None:
        """Tell the broker of a state of RFC 5."""
        self.notify("module.status", {"status": status, "errnum": errnum, "text": text})

    def debug_test(self, flag: int, clear: bool = False) -> bool:
        """True when a debug flag is set. clear: also take it away."""
        found = bool(self.debug_flags & flag)
        if clear:
            self.debug_flags &= ~flag
        return found

    def reactor_run(self, reactor: Reactor | None = None, flags: int = 0) -> int:
        self.set_running()
        self._serving = True
        held = [*self._queue]
        self._queue.clear()
        for msg in held:
            super().deliver(msg)
        try:
            return super().reactor_run(reactor, flags)
        finally:
            self._serving = False

    def deliver(self, msg: Message) -> None:
        self.counters.count_rx(msg.type)
        if self._serving:
            super().deliver(msg)
        else:
            self._queue.append(msg)

    def send_message(self, msg: Message) -> None:
        self.counters.count_tx(msg.type)
        super().send_message(msg)

    def fail(self, exc: Exception) -> bool:
        """Tell the broker why the module ends: who loads it is told, or the log when it has been running.

        Returns:
            False when that says all: an argument that makes no sense, a service that refuses something.
        """
        expected = isinstance(exc, OSError) or (isinstance(exc, ValueError) and not self._reported)
        error = FluxError(errno.EINVAL, str(exc)) if isinstance(exc, ValueError) and expected else as_flux_error(exc)
        if self._reported:
            self.log(syslog.LOG_ERR, f"module runtime failure: {error}")
        self.report(EXITED, error.errno, str(error))
        return not expected

    def leave(self) -> None:
        """Have nothing more sent here, and refuse what has come but was not looked at."""
        self.rpc("module.status", {"status": FINALIZING}).get()
        for msg in self._queue:
            if msg.type == REQUEST:
                self.respond_error(msg, errno.ENOSYS, f"{self.module_name} is being unloaded")


class _Defaults:
    """Answers what every module answers (RFC 5), with what `flux.module.runner.ModuleRunner` answers it with."""

    def __init__(self, handle: ModuleHandle) -> None:
        self.flux = handle
        self.instance = self
        self.uuid = handle.uuid
        self.counters = handle.counters
        self.conf: dict[str, Any] = {}
        for handler, function in DEFAULT_HANDLERS.items():
            self._watch(REQUEST, handler.topic, partial(self._answer, function), handler.allow)
        handle.event_subscribe(f"{handle.module_name}.stats-clear")
        self._watch(EVENT, "stats-clear", lambda *_args: self.clear_stats())

    def _watch(self, type: int, method: str, callback: Callable[..., Any], allow: int | None = None) -> None:
        topic = f"{self.flux.module_name}.{method}"
        self.flux.msg_watcher_create(callback, type, topic, rolemask=allow).start()

    def _answer(self, function: Callable[..., Any], handle: Flux, _watcher: Any, msg: Message, _args: Any) -> None:
        try:
            result = function(self, msg)
        except OSError as exc:
            error = as_flux_error(exc, msg.topic)
            handle.respond_error(msg, error.errno, str(error))
        else:
            if result is not DEFERRED:
                handle.respond(msg, result)

    @property
    def debug_flags(self) -> int:
        return self.flux.debug_flags

    @debug_flags.setter
    def debug_flags(self, flags: int) -> None:
        self.flux.debug_flags = flags

    def stats(self) -> dict[str, Any]:
        return {}

    def clear_stats(self) -> None:
        self.counters.clear()

    def reconfigured(self, conf: dict[str, Any]) -> None:
        self.flux.set_conf(conf)

    def request_exit(self, _graceful: bool) -> None:
        self.flux.reactor_stop()

    def disconnect(self, sender: str) -> None:
        """It has no streams of a client to end."""

    def cancel_stream(self, _msg: Message) -> Any:
        """The same."""
        return DEFERRED


def _serve(handle: ModuleHandle, target: str) -> int:
    """Run the module to its end, and tell the broker how that was; gives the exit status."""
    try:
        _Defaults(handle)
        load("modules", target)[0].main(handle, *handle.args)
        handle.leave()
    except Exception as exc:
        if handle.fileno() >= 0 and handle.fail(exc):
            traceback.print_exc()
        return 1
    handle.report(EXITED)
    return 0


def main(argv: list[str]) -> int:
    """Run the module named by argv[0]; exit status 1 when it could not start or failed."""
    uri = os.environ.pop("FLUX_MODULE_URI", "")
    if len(argv) != 1 or not uri:
        print("usage: FLUX_MODULE_URI=fd://N python -m flux.module.blocking MODULE", file=sys.stderr)
        return 2
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with ModuleHandle(uri) as handle:
        return _serve(handle, argv[0])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
