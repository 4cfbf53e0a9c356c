"""The service of a job's shells, "UID-shell-JOBID": requests of the job's user, and of shells to each other."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from flux.errors import FluxError, as_flux_error
from flux.hooks.host import explain
from flux.hooks.shell import DEFERRED
from flux.message import EVENT, REQUEST, ROLE_OWNER, ROLE_USER, Message
from flux_shell.mail import Inbox

__all__ = ["Service"]

Callback = Callable[[Message], Any]


class Service:
    """Requests to the service and events of the job, by name.

    Args:
        flux: the handle. name: of the service. event_prefix: of the job's events, "shell-JOBID.".
    """

    def __init__(self, flux: Any, name: str, event_prefix: str) -> None:
        self._flux = flux
        self.name = name
        self._event_prefix = event_prefix
        self._requests: dict[str, Callback] = {}
        self._events: dict[str, Callback] = {}
        self._inbox = Inbox()
        self._watcher = flux.msg_watcher_create(self._receive, REQUEST | EVENT, "*", rolemask=ROLE_OWNER | ROLE_USER)
        self._watcher.start()

    def on_request(self, method: str, callback: Callback) -> None:
        """Serve "NAME.method". FluxError EEXIST when it is served already."""
        if method in self._requests:
            raise FluxError(errno.EEXIST, f"{self.name}.{method} is served already")
        self._requests[method] = callback

    def drop(self, method: str) -> None:
        """Serve "NAME.method" no more."""
        del self._requests[method]

    def on_event(self, name: str, callback: Callback) -> None:
        """Take the job's event "shell-JOBID.name"."""
        self._events[name] = callback

    def _receive(self, _flux: Any, _watcher: Any, msg: Message, _args: Any) -> None:
        if msg.type == REQUEST:
            self._request(msg)
        elif msg.topic.startswith(self._event_prefix):
            callback = self._events.get(msg.topic.removeprefix(self._event_prefix))
            if callback is not None and self._allowed(msg):
                callback(msg)

    def _request(self, msg: Message) -> None:
        method = msg.topic.removeprefix(self.name + ".")
        if method == "disconnect" and method not in self._requests:
            return
        if not self._allowed(msg):
            text = "only the job's user and the instance owner may talk to a job's shell"
            self._flux.respond_error(msg, errno.EPERM, text)
            return
        mail = msg.payload.get("mail") if isinstance(msg.payload, dict) else None
        if mail is None:
            self._serve(msg, method)
            return
        letters, is_repeated = self._inbox.take(msg, *mail)
        for letter in letters:
            self._serve(letter, letter.topic.removeprefix(self.name + "."))
        if is_repeated:
            self._flux.respond(msg)

    def _serve(self, msg: Message, method: str) -> None:
        callback = self._requests.get(method)
        try:
            if callback is None:
                raise FluxError(errno.ENOSYS, f"Unknown service method '{msg.topic}'")
            result = callback(msg)
            if result is not DEFERRED:
                self._flux.respond(msg, result)
        except (OSError, ValueError) as exc:
            error = as_flux_error(exc)
            self._flux.respond_error(msg, error.errno, str(error))
        except Exception as exc:  # a slip of one plugin is no reason to end the job
            self._flux.respond_error(msg, errno.EINVAL, explain(exc))

    @staticmethod
    def _allowed(msg: Message) -> bool:
        return bool(msg.rolemask & ROLE_OWNER) or msg.userid == os.getuid()
