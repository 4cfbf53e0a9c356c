"""Show jobs by a format string (flux-jobs(1), OUTPUT FORMAT; manual page ``flux.job.info``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flux.output_format import HeaderFormatter, JobFormatter, OutputFormat

__all__ = ["JobInfoFormat", "job_fields_to_attrs"]


class JobInfoFormat(OutputFormat):
    """A format string, checked.

    Args:
        fmt: such as "{id.f58:>12} {name:<10.10} {runtime!F:>8h}".
        headings: as for `OutputFormat`.

    Raises:
        ValueError: the format is malformed, or names a field that jobs do not have.
    """

    HeaderFormatter = HeaderFormatter
    JobFormatter = JobFormatter

    headings: Mapping[str, str] = {
        "id": "JOBID",
        "id.f58": "JOBID",
        "id.f58plain": "JOBID",
        "id.dec": "JOBID",
        "id.hex": "JOBID",
        "id.dothex": "JOBID",
        "id.kvs": "JOBID",
        "id.words": "JOBID",
        "id.emoji": "JOBID",
        "userid": "UID",
        "username": "USER",
        "urgency": "URG",
        "priority": "PRI",
        "state": "STATE",
        "state_single": "S",
        "state_emoji": "STATE",
        "name": "NAME",
        "queue": "QUEUE",
        "project": "PROJECT",
        "bank": "BANK",
        "cwd": "CWD",
        "ntasks": "NTASKS",
        "ncores": "NCORES",
        "nnodes": "NNODES",
        "duration": "DURATION",
        "ranks": "RANKS",
        "nodelist": "NODELIST",
        "success": "SUCCESS",
        "result": "RESULT",
        "result_abbrev": "RS",
        "result_emoji": "RESULT",
        "t_submit": "T_SUBMIT",
        "t_depend": "T_DEPEND",
        "t_priority": "T_PRIORITY",
        "t_sched": "T_SCHED",
        "t_run": "T_RUN",
        "t_cleanup": "T_CLEANUP",
        "t_inactive": "T_INACTIVE",
        "runtime": "RUNTIME",
        "status": "STATUS",
        "status_abbrev": "ST",
        "status_emoji": "STATUS",
        "waitstatus": "WSTATUS",
        "returncode": "RC",
        "exception.occurred": "EXCEPTION-OCCURRED",
        "exception.severity": "EXCEPTION-SEVERITY",
        "exception.type": "EXCEPTION-TYPE",
        "exception.note": "EXCEPTION-NOTE",
        "expiration": "EXPIRATION",
        "t_remaining": "T_REMAINING",
        "annotations": "ANNOTATIONS",
        "annotations.sched.reason_pending": "REASON",
        "annotations.sched.resource_summary": "RESOURCES",
        "annotations.sched.t_estimate": "T_ESTIMATE",
        "sched": "SCHED",
        "sched.reason_pending": "REASON",
        "sched.resource_summary": "RESOURCES",
        "sched.t_estimate": "T_ESTIMATE",
        "user": "USER",
        "uri": "URI",
        "uri.local": "URI",
        "dependencies": "DEPENDENCIES",
        "contextual_info": "INFO",
        "contextual_time": "TIME",
        "inactive_reason": "INACTIVE-REASON",
        "instance.stats": "STATS",
        "instance.stats.total": "NJOBS",
        "instance.utilization": "CORE%",
        "instance.gpu_utilization": "GPU%",
        "instance.progress": "PROG",
        **{
            f"instance.resources.{state}.{count}": heading or count[1:].upper()
            for state, heading in (("all", ""), ("up", "UP"), ("down", "DOWN"), ("allocated", "USED"), ("free", "FREE"))
            for count in ("nnodes", "ncores", "ngpus")
        },
    }
    _OPEN = ("annotations.", "sched.", "user.", "instance.")

    def heading(self, field: str) -> str:
        if field in self.headings or not field.startswith(self._OPEN):
            return super().heading(field)
        return field.removeprefix("annotations.").removeprefix("instance.").removeprefix("resources.").upper()

    def attributes(self) -> list[str]:
        """The RFC 43 attributes that the fields need, to ask for no more."""
        return sorted(job_fields_to_attrs(self.fields))

    def needs_instances(self) -> bool:
        """Whether a field is about the instance of Flux that a job is, which that instance has to be asked for."""
        return any(field.startswith("instance.") for field in self.fields)


def job_fields_to_attrs(fields: Iterable[str]) -> set[str]:
    """The RFC 43 attributes that fields of jobs are made of."""
    return {name for field in fields for name in _needs(field)}


_NEEDS = {
    "id": (),
    "username": ("userid",),
    "state": ("state",),
    "state_single": ("state",),
    "result": ("result",),
    "result_abbrev": ("result",),
    "status": ("state", "result"),
    "status_abbrev": ("state", "result"),
    "status_emoji": ("state", "result"),
    "state_emoji": ("state",),
    "result_emoji": ("result",),
    "runtime": ("t_run", "t_cleanup"),
    "t_remaining": ("state", "expiration"),
    "returncode": ("state", "waitstatus", "t_run", "exception_occurred"),
    "inactive_reason": (
        "state",
        "result",
        "waitstatus",
        "t_run",
        "exception_occurred",
        "exception_severity",
        "exception_type",
        "exception_note",
    ),
    "instance": ("annotations", "state", "result"),
    "sched": ("annotations",),
    "user": ("annotations",),
    "uri": ("annotations",),
    "contextual_info": ("state", "nodelist", "annotations", "dependencies", "urgency", "priority"),
    "contextual_time": ("state", "duration", "t_run", "t_cleanup"),
}


def _needs(field: str) -> Iterable[str]:
    first, _, rest = field.partition(".")
    if first == "exception":
        return (f"exception_{rest}",)
    return _NEEDS.get(first, (first,))
