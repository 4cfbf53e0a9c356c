"""`.limit-job-size`: bounds on nodes, cores and GPUs of a job (`policy.limits.job-size`, flux-config-policy(5)).

A queue's own policy takes the place of the general one, bound by bound. -1 is no limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flux.hooks.jobtap import Job, hookimpl, reject

_RESOURCES = {"nnodes": "node", "ncores": "core", "ngpus": "gpu"}


@hookimpl
def conf_update(conf: Mapping[str, Any]) -> None:
    for queue in (None, *conf.get("queues", {})):
        for bound, resource, value in _limits(conf, queue):
            if bound not in ("max", "min") or resource not in _RESOURCES:
                reject(
                    f"policy.limits.job-size.{bound}.{resource} is unknown: it has max and min of nnodes, ncores, ngpus"
                )
            if not isinstance(value, int) or value < -1:
                reject(f"policy.limits.job-size.{bound}.{resource} must be an integer >= -1, not {value!r}")


@hookimpl
def job_validate(job: Job, conf: Mapping[str, Any]) -> None:
    limits = {(bound, resource): value for bound, resource, value in _limits(conf, job.system.get("queue"))}
    if not limits:
        return
    counts = job.jobspec.resource_counts()
    for (bound, resource), limit in limits.items():
        count = counts.get(_RESOURCES[resource], 0)
        if limit == -1 or (resource == "nnodes" and not count):
            continue
        if bound == "max" and count > limit:
            reject(f"requested {resource} ({count}) exceeds the policy limit ({limit})")
        if bound == "min" and count < limit:
            reject(f"requested {resource} ({count}) is below the policy limit ({limit})")


def _limits(conf: Mapping[str, Any], queue: str | None) -> Iterator[tuple[str, str, Any]]:
    own = conf.get("queues", {}).get(queue, {}) if queue else {}
    for table in (conf, own):
        for bound, resources in table.get("policy", {}).get("limits", {}).get("job-size", {}).items():
            for resource, value in resources.items():
                yield bound, resource, value
