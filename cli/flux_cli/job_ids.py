"""Job ids on command lines, and what to say when there is no such job."""

from __future__ import annotations

import errno

from flux_cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.job.JobID import JobID

__all__ = ["no_such_job", "parse_id"]


def parse_id(text: str) -> JobID:
    """A job id in any encoding of RFC 19 (an argparse type)."""
    import argparse

    from flux.job.JobID import JobID

    try:
        return JobID(text)
    except (ValueError, OverflowError) as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None


def no_such_job(exc: OSError, jobid: JobID) -> Exception:
    """The error of a request about a job, with the job's name in it where it is about the job."""
    if exc.errno == errno.ENOENT:
        text = str(exc) if "not found" in str(exc) else "No such job"
        return CommandError(f"{jobid.orig}: {text}")
    return exc
