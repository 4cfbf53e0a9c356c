"""Take large jobs only when they are instances of Flux: flux batch and flux alloc, no flux run."""

from __future__ import annotations

import argparse
import errno
import os
from typing import Any

from flux.job.Jobspec import Jobspec
from flux.job.validator import ValidatorJobInfo, ValidatorPlugin

__all__ = ["RequireInstance"]

_CORES_PER_NODE = 16
_INSTANCES = ("broker", "start")


class RequireInstance(ValidatorPlugin):
    """Jobs from a size on are instances of Flux: --require-instance-minnodes, -mincores (0: all jobs)"""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        for what in ("nodes", "cores"):
            parser.add_argument(
                f"--require-instance-min{what}", type=int, metavar="N", help=f"number of {what} from which on (0)"
            )

    def configure(self, args: argparse.Namespace) -> None:
        table = self.config.get("ingest", {}).get("validator", {}).get("require-instance", {})
        self._nodes = _number(args.require_instance_minnodes, table, "minnodes")
        self._cores = _number(args.require_instance_mincores, table, "mincores")
        # or a job that names no nodes would pass whatever its size
        self._least_cores = self._cores or _CORES_PER_NODE * self._nodes

    def validate(self, job: ValidatorJobInfo) -> tuple[int, str] | None:
        if not self._is_large(job.jobspec) or _is_instance(job.jobspec):
            return None
        return (
            errno.EINVAL,
            f"Direct job submission disabled for {self._which()}. Please use flux-batch(1) or flux-alloc(1)",
        )

    def _is_large(self, jobspec: dict[str, Any]) -> bool:
        if not self._nodes and not self._cores:
            return True
        counts = Jobspec.from_dict(jobspec).resource_counts()
        many_nodes = self._nodes and counts.get("node", 0) >= self._nodes
        return bool(many_nodes or counts.get("core", 0) >= self._least_cores)

    def _which(self) -> str:
        sizes = [f"{count} {what}" for count, what in ((self._nodes, "nodes"), (self._least_cores, "cores")) if count]
        return f"jobs >= {' or '.join(sizes)}" if sizes else "all jobs in this instance"


def _number(option: int | None, table: Any, key: str) -> int:
    value = table.get(key, 0) if option is None else option
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"require-instance: {key} must be a number of at least 0, not {value!r}")
    return value


def _is_instance(jobspec: dict[str, Any]) -> bool:
    if "batch" in (jobspec["attributes"] or {}).get("system", {}):
        return True
    command = jobspec["tasks"][0]["command"]
    words = command.split() if isinstance(command, str) else command
    return os.path.basename(words[0]) == "flux" and len(words) > 1 and words[1] in _INSTANCES
