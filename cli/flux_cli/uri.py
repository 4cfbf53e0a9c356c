"""URIs of instances from what people know of them: a job id, a process id (flux-uri(1))."""

from __future__ import annotations

import os
import socket

from flux_cli.common import CommandError, die, open_flux
from flux_cli.job_ids import no_such_job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.core.handle import Flux
    from flux.job.JobID import JobID

__all__ = ["resolve", "to_local", "to_remote"]


def resolve(target: str, wait: bool = False) -> str:
    """The URI that a target means.

    Args:
        target: a local:// or ssh:// URI as it is, "jobid:ID", "pid:PID", or a job id; for a job in the instance of a
            job "ID/ID".
        wait: wait until the job has a URI.

    Raises:
        CommandError: when there is no such thing, or it has no URI.
    """
    scheme, colon, rest = target.partition(":")
    if rest.startswith("//"):
        return target
    if colon and scheme not in ("jobid", "pid"):
        die(f"'{target}' is neither a URI, a job id, jobid:ID nor pid:PID")
    if scheme == "pid" and colon:
        return _of_process(rest)
    uri = None
    for part in (rest if colon else target).strip("/").split("/"):
        uri = _of_job(part, uri, wait)
        if os.environ.get("FLUX_URI_RESOLVE_LOCAL"):
            uri = to_local(uri)
    assert uri is not None
    return uri


def _of_process(text: str) -> str:
    try:
        with open(f"/proc/{int(text)}/environ", "rb") as environ:
            variables = environ.read().split(b"\0")
    except ValueError:
        die(f"'{text}' is no process id")
    except OSError as exc:
        die(f"process {text}: {exc.strerror}")
    for variable in variables:
        if variable.startswith(b"FLUX_URI="):
            return os.fsdecode(variable.removeprefix(b"FLUX_URI="))
    raise CommandError(f"process {text} has no FLUX_URI")


def _of_job(text: str, instance: str | None, wait: bool) -> str:
    from flux.job.JobID import JobID

    try:
        jobid = JobID(text)
    except ValueError as exc:
        die(str(exc))
    with open_flux(instance) as handle:
        try:
            if wait:
                return _awaited(handle, jobid)
            request = {"id": int(jobid), "attrs": ["annotations"]}
            job = handle.rpc("job-list.list-id", request).get()["job"]
        except OSError as exc:
            raise no_such_job(exc, jobid) from None
    uri = job.get("annotations", {}).get("user", {}).get("uri")
    if not uri:
        die(f"job {text} has no URI: it is no instance of Flux, or not yet")
    return str(uri)


def _awaited(handle: Flux, jobid: JobID) -> str:
    from flux.job.event import event_watch

    for event in event_watch(handle, jobid):
        if event.name == "memo" and "uri" in event.context:
            return str(event.context["uri"])
        if event.name == "clean":
            break
    raise CommandError(f"job {jobid.orig} has ended without a URI")


def to_local(uri: str) -> str:
    """The URI as it is on its own host."""
    if not uri.startswith("ssh://"):
        return uri
    return f"local:///{uri.removeprefix('ssh://').partition('/')[2]}"


def to_remote(uri: str) -> str:
    """The URI for other hosts."""
    if not uri.startswith("local://"):
        return uri
    return f"ssh://{socket.gethostname()}{uri.removeprefix('local://')}"
