"""Ask the scheduler whether a job could ever run (RFC 27, feasibility.check)."""

from __future__ import annotations

import errno

from flux.errors import FluxError
from flux.job.validator import ValidatorJobInfo, ValidatorPlugin

__all__ = ["Feasibility"]


class Feasibility(ValidatorPlugin):
    """The instance has the resources, were they all free; without a scheduler every job passes"""

    def validate(self, job: ValidatorJobInfo) -> None:
        try:
            job.flux.rpc("feasibility.check", {"jobspec": job.jobspec}).get()
        except FluxError as exc:
            if exc.errno != errno.ENOSYS:
                raise
