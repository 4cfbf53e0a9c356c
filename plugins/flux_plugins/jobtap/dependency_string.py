"""`.dependency-string`: jobs that wait for earlier jobs by what these give out (RFC 26, schemes string and fluid).

`string:NAME?type=out` gives a name out, `type=in` waits for the end of all active jobs that gave it out before, and
`type=inout` does both. `scope=user`, the default, is among the jobs of a user; `scope=global` among all, where only the
instance owner gives names out. `fluid:ID` is the same with a job id, which the job of that id gives out by itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from flux.constants import FLUX_JOB_STATE_INACTIVE
from flux.errors import FluxError
from flux.hooks.jobtap import Job, Manager, hookimpl, reject
from flux.job.fluid import decode, encode_f58

SCHEMES = ("string", "fluid")
_TYPES = ("in", "out", "inout")
_SCOPES = ("user", "global")

Name = tuple[str, int, str]
"""A scheme; a user id, or -1 for the global scope; and a name, or a job id in decimal."""


class DependencyString:
    """Active jobs by what they give out, and who waits for them."""

    def __init__(self) -> None:
        self._givers: dict[Name, dict[int, Job]] = {}
        self._waiting: dict[int, dict[int, Job]] = {}
        self._manager: Manager

    @hookimpl
    def plugin_load(self, manager: Manager) -> None:
        self._manager = manager

    @hookimpl
    def job_dependency(self, job: Job, scheme: str, dependency: Mapping[str, Any]) -> bool | None:
        if scheme not in SCHEMES:
            return None
        kind = _check(job, dependency)
        givers = set(self._givers.get(_name(job, dependency), ()))
        if scheme == "fluid":
            givers |= self._job_itself(job, dependency)
        if kind != "out":
            for giver in sorted(givers):
                if giver < job.id:
                    job.dependency_add(f"{scheme}={dependency['value']}/{encode_f58(giver, ascii_only=False)}")
        return True

    def _job_itself(self, job: Job, dependency: Mapping[str, Any]) -> set[int]:
        """The job that a dependency of the scheme fluid names, while it is active."""
        value = dependency["value"]
        try:
            target = self._manager.job(decode(value))
        except FluxError:
            reject(f"fluid: job {value} not found")
        if target.userid != job.userid and dependency.get("scope") != "global":
            reject(f"fluid: job {value} belongs to another user, and is in the scope global only")
        return set() if target.state == FLUX_JOB_STATE_INACTIVE else {target.id}

    @hookimpl
    def job_new(self, job: Job) -> None:
        for dependency in _dependencies(job):
            if dependency.get("type") != "in":
                self._givers.setdefault(_name(job, dependency), {})[job.id] = job
        for description in _descriptions(job):
            giver = decode(description.rpartition("/")[2])
            if self._is_active(giver):
                self._waiting.setdefault(giver, {})[job.id] = job
            else:
                job.dependency_remove(description)  # it ended while nobody looked

    def _is_active(self, jobid: int) -> bool:
        try:
            return self._manager.job(jobid).state != FLUX_JOB_STATE_INACTIVE
        except FluxError:
            return False

    @hookimpl
    def job_state_inactive(self, job: Job) -> None:
        for dependency in _dependencies(job):
            name = _name(job, dependency)
            self._givers.get(name, {}).pop(job.id, None)
            if not self._givers.get(name, True):
                del self._givers[name]
        end = f"/{encode_f58(job.id, ascii_only=False)}"
        for other in self._waiting.pop(job.id, {}).values():
            for description in _descriptions(other):
                if description.endswith(end):
                    other.dependency_remove(description)


def _dependencies(job: Job) -> Iterator[Mapping[str, Any]]:
    return (entry for entry in job.system.get("dependencies") or () if entry["scheme"] in SCHEMES)


def _descriptions(job: Job) -> list[str]:
    """What the job waits for, of the dependencies added here."""
    return [text for text in job.dependencies if text.partition("=")[0] in SCHEMES]


def _name(job: Job, dependency: Mapping[str, Any]) -> Name:
    scheme, value = dependency["scheme"], dependency["value"]
    scope = -1 if dependency.get("scope") == "global" else job.userid
    return (scheme, scope, str(decode(value)) if scheme == "fluid" else value)


def _check(job: Job, dependency: Mapping[str, Any]) -> str:
    """The type of a dependency; rejects one that is none."""
    scheme, value = dependency["scheme"], dependency["value"]
    kind, scope = dependency.get("type"), dependency.get("scope", "user")
    if not value:
        reject(f"{scheme}: a {'job id' if scheme == 'fluid' else 'name'} is needed, as in {scheme}:...?type=in")
    if kind not in _TYPES:
        reject(f"{scheme}:{value}: type must be in, out or inout, not {kind}")
    if scope not in _SCOPES:
        reject(f"{scheme}:{value}: scope must be user or global, not {scope}")
    if scope == "global" and kind != "in" and job.userid != os.getuid():
        reject(f"{scheme}:{value}: only the instance owner can give out names in the global scope")
    if scheme == "fluid":
        _check_fluid(value)
    return str(kind)


def _check_fluid(value: str) -> None:
    try:
        decode(value)
    except ValueError:
        reject(f"fluid: {value} is not a job id")
