"""Shell option taskmap: block, cyclic[:STRIDE], hostfile:FILE and manual:MAP distributions of tasks (RFC 34)."""

from __future__ import annotations

import os
from itertools import cycle, islice
from typing import TYPE_CHECKING

from flux.hooks.shell import hookimpl
from flux.hostlist import Hostlist
from flux.idset import IDset
from flux.taskmap import TaskMap, decode

if TYPE_CHECKING:
    from flux_shell.shell import Shell

__all__ = ["TaskMapSchemes"]


class TaskMapSchemes:
    """The schemes that come with the shell."""

    @hookimpl
    def shell_taskmap(self, shell: Shell, scheme: str, value: str, counts: list[int]) -> TaskMap | None:
        if scheme == "block":
            return TaskMap.block(counts)
        if scheme == "cyclic":
            return TaskMap.cyclic(counts, _stride(value))
        if scheme == "hostfile":
            hosts = _hosts(value, shell.job.cwd)
            return _by_hosts(hosts, list(Hostlist(shell.job.r["execution"]["nodelist"])), sum(counts))
        if scheme == "manual":
            return decode(value)
        return None


def _stride(value: str) -> int:
    if value and not value.isdigit():
        raise ValueError(f"taskmap=cyclic:{value}: a number of tasks was expected")
    return int(value or 1)


def _hosts(path: str, cwd: str) -> list[str]:
    """The host names of a file, which holds a hostlist on each line. cwd: where a relative path starts."""
    if not path:
        raise ValueError("taskmap=hostfile: the path of a file was expected, hostfile:FILE")
    try:
        with open(os.path.join(cwd, path), encoding="utf-8") as file:
            hosts = [host for line in file if line.strip() for host in Hostlist(line.strip())]
    except OSError as exc:
        raise ValueError(f"taskmap=hostfile:{path}: {exc.strerror}") from None
    if not hosts:
        raise ValueError(f"taskmap=hostfile:{path}: the file names no host")
    return hosts


def _by_hosts(hosts: list[str], nodes: list[str], ntasks: int) -> TaskMap:
    """One task after another to the hosts in turn, from the first again after the last."""
    ranks = [IDset() for _ in nodes]
    for task, host in enumerate(islice(cycle(hosts), ntasks)):
        if host not in nodes:
            raise ValueError(f"taskmap=hostfile: host {host} not found in job nodelist {','.join(nodes)}")
        ranks[nodes.index(host)].set(task)
    return TaskMap.from_idsets(ranks)
