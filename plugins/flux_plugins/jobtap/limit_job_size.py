"""`.limit-job-size`: bounds on nodes, cores and GPUs of a job (`policy.limits.job-size`, flux-config-policy(5)).

A queue's own policy takes the place of its parent's, and that of the general one, bound by bound. -1 is no limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flux.hooks.jobtap import Job, hookimpl, reject
from flux.queue import policy_tables

_RESOURCES = {"nnodes": "node", "ncores": "core", "ngpus": "gpu"}
_UNLIMITED = -1


@hookimpl
def conf_update(conf: Mapping[str, Any]) -> None:
    for queue in (None, *conf.get("queues", {})):
        for (bound, resource), value in _limits(conf, queue).items():
            name = f"policy.limits.job-size.{bound}.{resource}"
            if bound not in ("max", "min") or resource not in _RESOURCES:
                reject(f"{name} is unknown: it has max and min of nnodes, ncores, ngpus")
            if isinstance(value, bool) or not isinstance(value, int) or value < _UNLIMITED:
                reject(f"{name}: size must be -1 (unlimited), or >= 0, not {value!r}")


@hookimpl
def job_validate(job: Job, conf: Mapping[str, Any]) -> None:
    queue = job.system.get("queue")
    limits = _limits(conf, queue)
    if not limits:
        return
    counts = job.jobspec.resource_counts()
    where = f" for queue {queue}" if queue else ""
    for (bound, resource), limit in sorted(limits.items()):
        count = counts.get(_RESOURCES[resource], 0)
        if limit == _UNLIMITED:
            continue
        if bound == "max" and count > limit:
            reject(f"requested {resource} ({count}) exceeds policy limit of {limit}{where}")
        if bound == "min" and count < limit:
            reject(f"requested {resource} ({count}) is under policy limit of {limit}{where}")


def _limits(conf: Mapping[str, Any], queue: str | None) -> dict[tuple[str, str], Any]:
    """(bound, resource) to number."""
    limits: dict[tuple[str, str], Any] = {}
    for table in policy_tables(conf, queue):
        for bound, resources in table.get("limits", {}).get("job-size", {}).items():
            for resource, value in resources.items():
                limits.setdefault((bound, resource), value)
    return limits
