"""`.dependency-string`: jobs that wait for earlier jobs by a name that these give out (RFC 26, scheme string).

`string:NAME?type=out` gives a name out, `type=in` waits for the end of all active jobs that gave it out before, and
`type=inout` does both. `scope=user`, the default, is among the jobs of a user; `scope=global` among all, where only the
instance owner gives names out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from flux.hooks.jobtap import Job, hookimpl, reject
from flux.job.fluid import decode, encode_f58

PREFIX = "string="
_TYPES = ("in", "out", "inout")
_SCOPES = ("user", "global")

Name = tuple[int, str]
"""A user id, or -1 for the global scope; and a name."""


class DependencyString:
    """Active jobs by the names that they give out, and who waits for them."""

    def __init__(self) -> None:
        self._givers: dict[Name, dict[int, Job]] = {}
        self._waiting: dict[int, dict[int, Job]] = {}

    @hookimpl
    def job_dependency(self, job: Job, scheme: str, dependency: Mapping[str, Any]) -> bool | None:
        if scheme != "string":
            return None
        kind = _check(job, dependency)
        if kind != "out":
            for giver in list(self._givers.get(_name(job, dependency), {})):
                if giver < job.id:
                    job.dependency_add(f"{PREFIX}{dependency['value']}/{encode_f58(giver, ascii_only=False)}")
        return True

    @hookimpl
    def job_new(self, job: Job) -> None:
        for dependency in _dependencies(job):
            if dependency.get("type") != "in":
                self._givers.setdefault(_name(job, dependency), {})[job.id] = job
        active = {giver for jobs in self._givers.values() for giver in jobs}
        for description in [text for text in job.dependencies if text.startswith(PREFIX)]:
            giver = decode(description.rpartition("/")[2])
            if giver in active:
                self._waiting.setdefault(giver, {})[job.id] = job
            else:
                job.dependency_remove(description)  # it ended while nobody looked

    @hookimpl
    def job_state_inactive(self, job: Job) -> None:
        for dependency in _dependencies(job):
            name = _name(job, dependency)
            self._givers.get(name, {}).pop(job.id, None)
            if not self._givers.get(name, True):
                del self._givers[name]
        end = f"/{encode_f58(job.id, ascii_only=False)}"
        for other in self._waiting.pop(job.id, {}).values():
            for description in list(other.dependencies):
                if description.startswith(PREFIX) and description.endswith(end):
                    other.dependency_remove(description)


def _dependencies(job: Job) -> Iterator[Mapping[str, Any]]:
    return (entry for entry in job.system.get("dependencies") or () if entry["scheme"] == "string")


def _name(job: Job, dependency: Mapping[str, Any]) -> Name:
    return (-1 if dependency.get("scope") == "global" else job.userid, dependency["value"])


def _check(job: Job, dependency: Mapping[str, Any]) -> str:
    """The type of a dependency; rejects one that is none."""
    name, kind, scope = dependency["value"], dependency.get("type"), dependency.get("scope", "user")
    if not name:
        reject("string: a name is needed, as in string:NAME?type=out")
    if kind not in _TYPES:
        reject(f"string:{name}: type must be in, out or inout, not {kind}")
    if scope not in _SCOPES:
        reject(f"string:{name}: scope must be user or global, not {scope}")
    if scope == "global" and kind != "in" and job.userid != os.getuid():
        reject(f"string:{name}: only the instance owner can give out names in the global scope")
    return str(kind)
