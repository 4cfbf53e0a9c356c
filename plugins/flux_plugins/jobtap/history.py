"""`.history`: each user's job ids, newest first (flux-job(1) last)."""

from __future__ import annotations

import bisect
import re
from typing import Any

from flux.errors import ProtocolError
from flux.hooks.jobtap import Job, Manager, hookimpl, reject
from flux.message import ROLE_OWNER, ROLE_USER, Message

_SLICE = re.compile(r"\[(-?\d+)?(?:(:)(-?\d+)?(?::(-?\d+)?)?)?\]")


class History:
    """Job ids of each user by time of submission."""

    def __init__(self) -> None:
        self._jobs: dict[int, list[tuple[float, int]]] = {}

    @hookimpl
    def plugin_load(self, manager: Manager) -> None:
        manager.register_service("history.get", self._get, ROLE_OWNER | ROLE_USER)

    @hookimpl
    def job_new(self, job: Job) -> None:
        self._add(job)

    @hookimpl
    def job_inactive_add(self, job: Job) -> None:
        self._add(job)

    def _add(self, job: Job) -> None:
        jobs = self._jobs.setdefault(job.userid, [])
        entry = (job.t_submit, job.id)
        where = bisect.bisect_left(jobs, entry)
        if where == len(jobs) or jobs[where] != entry:
            jobs.insert(where, entry)

    @hookimpl
    def job_inactive_remove(self, job: Job) -> None:
        self._jobs.get(job.userid, []).remove((job.t_submit, job.id))

    def _get(self, msg: Message) -> dict[str, Any]:
        wanted = (msg.payload or {}).get("slice")
        if not isinstance(wanted, str):
            raise ProtocolError("history.get needs a slice, such as [:1]")
        newest_first = [id for _, id in reversed(self._jobs.get(msg.userid, ()))]
        return {"jobs": newest_first[_slice(wanted)]}


def _slice(text: str) -> slice:
    match = _SLICE.fullmatch(text)
    if match is None or text == "[]":
        reject(f"{text} is not a slice in Python's notation, such as [:1]")
    start, colon, stop, step = match.groups()
    if colon is None:
        index = int(start)
        return slice(index, index + 1 or None)
    if step == "0":
        reject("a slice cannot have a step of 0")
    return slice(*(None if part is None else int(part) for part in (start, stop, step)))
