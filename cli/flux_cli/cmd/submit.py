"""`flux submit`: submit a job, or many copies of it (flux-submit(1))."""

from __future__ import annotations

import argparse
import sys
from collections import deque

from flux_cli import submit_options
from flux_cli.cmd.run import encode, environment, print_jobspec
from flux_cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO, Any

    from flux.core.handle import Flux
    from flux.job.JobID import JobID
    from flux.job.submit import SubmitFuture

OPTIONS: list[submit_options.Option] = [
    *submit_options.COMMON,
    (("--cc",), {"metavar": "IDSET", "help": "a copy for each id, which it finds in $FLUX_JOB_CC; {cc} stands for it"}),
    (("--bcc",), {"metavar": "IDSET", "help": "a copy for each id, without $FLUX_JOB_CC"}),
    (("--wait",), {"action": "store_true", "help": "wait until all jobs have ended"}),
    (("--wait-event",), {"metavar": "NAME", "help": "wait until all jobs have had this event"}),
    (("--watch",), {"action": "store_true", "help": "show the jobs' output until all have ended"}),
    (("--quiet",), {"action": "store_true", "help": "do not print job ids"}),
    (("--log",), {"metavar": "FILE", "help": "print to this file; {cc} stands for the id of --cc"}),
    (("--log-stderr",), {"metavar": "FILE", "help": "print errors to this file"}),
]

_IN_FLIGHT = 512
"""Submissions that may wait for an answer at once: enough to keep the instance busy, few enough to hold in memory."""


def command(argv: list[str]) -> int:
    args = submit_options.parse("submit", "Submit jobs and print their ids.", OPTIONS, argv)
    if args.dry_run:
        for spec, _ in _jobspecs(args):
            print_jobspec(spec)
        return 0
    from flux.core.handle import Flux

    with Flux() as handle:
        batch = Batch(handle, args)
        batch.submit(_jobspecs(args))
        return batch.wait()


# -- copies


def _copies(args: Any) -> Iterator[int | None]:
    if args.cc is not None and args.bcc is not None:
        raise CommandError("--cc and --bcc exclude each other")
    text = args.cc if args.cc is not None else args.bcc
    if text is None:
        yield None
        return
    from flux.idset import IDset

    try:
        yield from IDset(text)
    except ValueError as exc:
        raise CommandError(f"--{'cc' if args.cc is not None else 'bcc'}: {exc}") from None


def _jobspecs(args: Any) -> Iterator[tuple[dict[str, Any], argparse.Namespace]]:
    """The jobspec and the options of each copy. One jobspec is made and reused when {cc} is not in use."""
    varies = any("{cc}" in text for value in vars(args).values() for text in _texts(value))
    spec: dict[str, Any] | None = None
    mine = args
    for number in _copies(args):
        if spec is None or varies:
            mine = _substitute(args, "" if number is None else str(number)) if varies else args
            spec = submit_options.build_jobspec(mine, environment(mine.env))
        if args.cc is not None:
            spec["attributes"]["system"]["environment"]["FLUX_JOB_CC"] = str(number)
        yield spec, mine


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        return (value,)
    return (item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _substitute(args: Any, number: str) -> argparse.Namespace:
    def filled(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("{cc}", number)
        return [filled(item) for item in value] if isinstance(value, list) else value

    return argparse.Namespace(**{name: filled(value) for name, value in vars(args).items()})


# -- submission


class Batch:
    """Jobs on their way: submissions are in flight together, and so are the waits for their ends."""

    def __init__(self, handle: Flux, args: Any) -> None:
        self._handle = handle
        self._args = args
        self._flags = submit_options.job_flags(args)
        self._pending: deque[tuple[SubmitFuture, Any]] = deque()
        self._jobs: list[tuple[JobID, Any]] = []
        self._logs: dict[str, IO[str]] = {}
        self._code = 0
        self._waits = args.wait or args.watch or args.wait_event is not None

    def submit(self, jobs: Iterable[tuple[dict[str, Any], Any]]) -> None:
        """Submit all jobs and print their ids; one that is refused does not stop the rest."""
        from flux.job.submit import submit_async

        for spec, args in jobs:
            if len(self._pending) >= _IN_FLIGHT:
                self._take_id()
            urgency = submit_options.parse_urgency(args.urgency)
            self._pending.append((submit_async(self._handle, encode(spec), urgency, **self._flags), args))
        while self._pending:
            self._take_id()
        for stream in (sys.stdout, *self._logs.values()):
            stream.flush()

    def _take_id(self) -> None:
        future, args = self._pending.popleft()
        try:
            jobid = future.get_id()
        except OSError as exc:
            self._fail(str(exc), args)
            return
        if not args.quiet:
            print(jobid, file=self._log(args.log) or sys.stdout)
        if self._waits:
            self._jobs.append((jobid, self._watch(jobid)))

    def _fail(self, text: str, args: Any = None, code: int = 1) -> None:
        log = self._log((args or self._args).log_stderr or (args or self._args).log)
        print(f"flux-submit: {text}", file=log or sys.stderr, flush=True)
        self._code = max(self._code, code)

    def _log(self, path: str | None) -> IO[str] | None:
        if path is None:
            return None
        if path not in self._logs:
            self._logs[path] = open(path, "w")  # noqa: SIM115  # as long as the command
        return self._logs[path]

    # -- ends of jobs

    def _watch(self, jobid: JobID) -> Any:
        if self._args.wait_event is not None:
            from flux.job.event import event_watch_async

            return event_watch_async(self._handle, jobid)
        if self._args.watch:
            return self._attach(jobid)
        from flux.job.list import job_list_id

        return job_list_id(self._handle, jobid, _ATTRS, state=_INACTIVE)

    def _attach(self, jobid: JobID) -> Any:
        from flux_cli.attach import Attach

        attach = Attach(self._handle, jobid, label=self._args.label_io, stdin=None, interactive=False, name="submit")
        attach.start(lambda _attach: None)
        return attach

    def wait(self) -> int:
        """Wait as the options say; gives the highest exit code of the jobs."""
        if self._args.watch:
            self._handle.reactor_run()
        for jobid, future in self._jobs:
            try:
                self._code = max(self._code, self._end_of(jobid, future))
            except OSError as exc:
                self._fail(f"{jobid}: {exc}")
        for stream in self._logs.values():
            stream.close()
        return self._code

    def _end_of(self, jobid: JobID, future: Any) -> int:
        if self._args.wait_event is not None:
            return self._event_of(jobid, future)
        if self._args.watch:
            future.close()
            return int(future.finish())
        return self._ended(jobid, future.get_job())

    def _event_of(self, jobid: JobID, watch: Any) -> int:
        while (event := watch.get_event()) is not None:
            if event.name == self._args.wait_event:
                watch.cancel()
                return 0
        self._fail(f"{jobid}: the job ended without event '{self._args.wait_event}'")
        return 1

    def _ended(self, jobid: JobID, job: dict[str, Any]) -> int:
        from flux_cli.attach import exit_code

        code = exit_code(job.get("waitstatus"))
        fatal = job.get("exception_occurred") and job.get("exception_severity") == 0
        if fatal:
            self._fail(f"{jobid}: exception {job['exception_type']}: {job.get('exception_note', '')}".rstrip(": "))
            code = code or 1
        elif self._args.verbose and not code:
            print(f"{jobid}: completed", file=sys.stderr)
        elif self._args.verbose:
            print(f"{jobid}: exited with code {code}", file=sys.stderr)
        return code


_INACTIVE = 64
_ATTRS = ("waitstatus", "exception_occurred", "exception_severity", "exception_type", "exception_note")
