"""What plugins may ask about a job: flux_shell_get_info(3), flux_shell_get_jobspec_info(3) and their kin."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from flux.hostlist import Hostlist
from flux.idset import IDset
from flux_shell.layout import least_count

if TYPE_CHECKING:
    from flux_shell.core import ShellCore
    from flux_shell.job import Job

__all__ = ["hostlist", "info", "jobspec_info", "rank_info"]


def info(shell: ShellCore) -> dict[str, Any]:
    """jobid, instance_owner, rank, size, ntasks, service, options {verbose, standalone}, jobspec, R."""
    owner = os.getuid() if shell.flux is None else int(shell.flux.attr_get("security.owner"))
    return {
        "jobid": shell.jobid,
        "instance_owner": owner,
        "rank": shell.rank,
        "size": shell.size,
        "ntasks": shell.job.ntasks,
        "service": shell.service,
        "options": {"verbose": shell.verbose, "standalone": shell.standalone},
        "jobspec": shell.job.jobspec,
        "R": shell.job.r,
    }


def rank_info(job: Job, shell_rank: int) -> dict[str, Any]:
    """id, name, broker_rank, ntasks, taskids, resources of a shell; ValueError when the job has no such shell.

    resources: ncores, cores and gpus (idsets), and the same as core and gpu for what there is any of.
    """
    if not 0 <= shell_rank < len(job.nodes):
        raise ValueError(f"there is no shell rank {shell_rank}: the job has {len(job.nodes)} shells")
    node = job.nodes[shell_rank]
    cores, gpus = str(IDset(node.cores)), str(IDset(node.gpus))
    resources = {"ncores": node.ncores, "cores": cores, "gpus": gpus}
    resources |= {name: ids for name, ids in (("core", cores), ("gpu", gpus)) if ids}
    return {
        "id": shell_rank,
        "name": hostlist(job)[shell_rank],
        "broker_rank": node.rank,
        "ntasks": job.counts[shell_rank],
        "taskids": str(IDset(job.task_ranks(shell_rank))),
        "resources": resources,
    }


def hostlist(job: Job) -> Hostlist:
    """Hosts of the job's shells, by shell rank."""
    return Hostlist(job.r["execution"]["nodelist"])


def jobspec_info(job: Job) -> dict[str, Any]:
    """version, ntasks, nslots, cores_per_slot, gpus_per_slot, nnodes, slots_per_node (-1: unset), node_exclusive."""
    found = {"node": -1, "slot": 1, "core": 0, "gpu": 0}
    exclusive = False
    level = job.jobspec["resources"]
    while level:
        for resource in level:
            if resource["type"] in found:
                found[resource["type"]] = least_count(resource["count"])
            exclusive = exclusive or bool(resource.get("exclusive") and resource["type"] == "node")
        level = [inner for resource in level for inner in resource.get("with", ())]
    nnodes, slots = found["node"], found["slot"]
    return {
        "version": job.jobspec["version"],
        "ntasks": job.ntasks,
        "nslots": slots * max(nnodes, 1),
        "cores_per_slot": found["core"],
        "gpus_per_slot": found["gpu"],
        "nnodes": nnodes,
        "slots_per_node": slots if nnodes > 0 else -1,
        "node_exclusive": exclusive,
    }
