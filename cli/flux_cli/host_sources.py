"""Where hosts come from: the instance, jobs, standard input, or the command line (flux-hostlist(1), SOURCES)."""

from __future__ import annotations

import os
import sys

from flux.hostlist import Hostlist
from flux_cli.common import die, open_flux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.core.handle import Flux
    from flux.job.JobID import JobID

__all__ = ["Sources"]

_STDIN_TIMEOUT = 15.0  # seconds, for who expects the hosts of the instance when nothing is said


class Sources:
    """Fetches hosts; connects to the instance when a source needs it.

    Args:
        fallback: take what looks like the id of a job for a host when there is no such job.
    """

    def __init__(self, fallback: bool) -> None:
        self._fallback = fallback
        self._connected: Flux | None = None

    def __enter__(self) -> Sources:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._connected is not None:
            self._connected.close()

    def fetch(self, names: list[str]) -> list[Hostlist]:
        """The hosts of each source. CommandError when one cannot be had."""
        return [_NAMED[name](self) if name in _NAMED else self._other(name) for name in names]

    @property
    def _handle(self) -> Flux:
        if self._connected is None:
            self._connected = open_flux()
        return self._connected

    def _instance(self) -> Hostlist:
        return Hostlist(self._handle.attr_get("hostlist"))

    def _local(self) -> Hostlist:
        jobid = os.environ.get("FLUX_JOB_ID")
        return self._other(jobid) if jobid else self._instance()

    def _available(self) -> Hostlist:
        from flux.idset import IDset
        from flux.resource import ResourceSet

        status = self._handle.rpc("resource.status", nodeid=0).get()
        usable = ResourceSet(status["R"]).ranks
        for rank in IDset().union(status.get("offline", ""), status.get("exclude", ""), *status.get("drain", {})):
            usable.clear(rank)
        hosts = self._local()
        return Hostlist([hosts[i] for i in usable if i < len(hosts)])

    def _stdin(self) -> Hostlist:
        import select

        timeout = float(os.environ.get("FLUX_HOSTLIST_STDIN_TIMEOUT", _STDIN_TIMEOUT))
        if not select.select([sys.stdin], [], [], timeout)[0]:
            die(f"timeout after {timeout}s waiting for stdin")
        return _decode([line.strip() for line in sys.stdin], "stdin")

    def _other(self, name: str) -> Hostlist:
        from flux.job.JobID import JobID

        try:
            jobid = JobID(name)
        except ValueError:
            return _decode([name], name)
        return self._job(name, jobid)

    def _job(self, name: str, jobid: JobID) -> Hostlist:
        from flux.job.list import job_list_id

        try:
            return Hostlist(job_list_id(self._handle, jobid, attrs=["nodelist"]).get_job().get("nodelist", ""))
        except FileNotFoundError:
            if self._fallback:
                return _decode([name], name)
            die(f"job {name} not found")
        except OSError as exc:
            die(f"job {name}: {exc}")


def _decode(texts: list[str], source: str) -> Hostlist:
    try:
        return Hostlist(texts)
    except ValueError as exc:
        die(f"Invalid jobid or hostlist {source}: {exc}")


_NAMED = {
    "instance": Sources._instance,
    "local": Sources._local,
    "avail": Sources._available,
    "available": Sources._available,
    "stdin": Sources._stdin,
    "-": Sources._stdin,
}
