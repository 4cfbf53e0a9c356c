"""`.post-event`: lets the instance owner add an event to a job's eventlog (`flux post-job-event`)."""

from __future__ import annotations

import errno
from typing import Any

from flux.constants import FLUX_JOB_STATE_INACTIVE
from flux.errors import FluxError, ProtocolError
from flux.hooks.jobtap import Manager, hookimpl
from flux.message import Message


class PostEvent:
    """The policy: a service, and nothing else."""

    def __init__(self) -> None:
        self._manager: Manager

    @hookimpl
    def plugin_load(self, manager: Manager) -> None:
        self._manager = manager
        manager.register_service("post-event.post", self._post)

    def _post(self, msg: Message) -> None:
        payload: dict[str, Any] = msg.payload or {}
        jobid, name, context = payload.get("id"), payload.get("name"), payload.get("context")
        if not isinstance(jobid, int) or not isinstance(name, str) or not name:
            raise ProtocolError("post-event.post needs id, a number, and name, an event's")
        if context is not None and not isinstance(context, dict):
            raise ProtocolError("context must be an object")
        job = self._manager.job(jobid)
        if job.state == FLUX_JOB_STATE_INACTIVE:
            raise FluxError(errno.ENOENT, "job is inactive")
        job.post_event(name, context)
