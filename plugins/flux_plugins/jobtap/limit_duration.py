"""`.limit-duration`: jobs may not ask for more time than `policy.limits.duration` (flux-config-policy(5)).

A queue's own policy (`queues.NAME.policy.limits.duration`) takes the place of its parent's, and that of the general
one. A job without a time limit exceeds any limit. "0" is no limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flux.hooks.jobtap import Job, hookimpl, reject
from flux.queue import policy_tables
from flux.util import fsd, parse_fsd


@hookimpl
def conf_update(conf: Mapping[str, Any]) -> None:
    for queue in (None, *conf.get("queues", {})):
        _limit(conf, queue)


@hookimpl
def job_validate(job: Job, conf: Mapping[str, Any]) -> None:
    queue = job.system.get("queue")
    limit = _limit(conf, queue)
    if limit <= 0:
        return
    duration = job.system.get("duration", 0)
    if not duration or duration > limit:
        asked = fsd(duration) if duration else "unlimited"
        where = f" for queue {queue}" if queue else ""
        reject(f"requested duration ({asked}) exceeds policy limit of {fsd(limit)}{where}")


def _limit(conf: Mapping[str, Any], queue: str | None) -> float:
    """Limit in seconds, 0 for none; rejects a configuration that is no duration."""
    for table in policy_tables(conf, queue):
        text = table.get("limits", {}).get("duration")
        if text is not None:
            try:
                return parse_fsd(str(text))
            except ValueError as exc:
                reject(f"{f'queues.{queue}.' if queue else ''}policy.limits.duration: {exc}")
    return 0.0
