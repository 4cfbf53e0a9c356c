"""Many jobs on their way at once, and the waits for their ends (flux-submit(1), flux-bulksubmit(1))."""

from __future__ import annotations

import argparse
import sys
from collections import deque

from flux_cli import submit_options
from flux_cli.cmd.run import encode, print_jobspec
from flux_cli.common import die, open_flux, warn
from flux_cli.errors import CommandError
from flux_cli.submit_jobspec import build_jobspec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, TextIO

    from flux.core.handle import Flux
    from flux.job.JobID import JobID
    from flux.job.submit import SubmitFuture
    from flux_cli.submit_progress import SubmitProgress

__all__ = ["OPTIONS", "Copy", "Submitter", "copies", "copy_count", "print_all", "submit_all"]

OPTIONS: list[submit_options.Option] = [
    *submit_options.COMMON,
    (("--cc",), {"metavar": "IDSET", "help": "a copy for each id, which it finds in $FLUX_JOB_CC; {cc} stands for it"}),
    (("--bcc",), {"metavar": "IDSET", "help": "a copy for each id, without $FLUX_JOB_CC"}),
    (("--wait",), {"action": "store_true", "help": "wait until all jobs have ended"}),
    (("--wait-event",), {"metavar": "NAME", "help": "wait until all jobs have had this event"}),
    (("--watch",), {"action": "store_true", "help": "show the jobs' output until all have ended"}),
    (("--log",), {"metavar": "FILE", "help": "print to this file; {cc} stands for the id of --cc"}),
    (("--log-stderr",), {"metavar": "FILE", "help": "print errors to this file"}),
    (("--progress",), {"action": "store_true", "help": "show a bar of how far submission, or waiting, has come"}),
    (("--jps",), {"action": "store_true", "help": "with --progress, show jobs per second"}),
]

_IN_FLIGHT = 512
"""Submissions that may wait for an answer at once: enough to keep the instance busy, few enough to hold in memory."""

_INACTIVE = 64
_ATTRS = ("waitstatus", "exception_occurred", "exception_severity", "exception_type", "exception_note")
_EXEC = "exec."


# -- copies


class Copy:
    """One job to submit. label: what tells it from the others, for messages."""

    def __init__(self, spec: dict[str, Any], args: Any, label: str = "") -> None:
        self.spec = spec
        self.args = args
        self.label = label


def copy_count(args: Any) -> int:
    """How many jobs the options ask for."""
    return len(list(_numbers(args)))


def copies(args: Any) -> Iterator[Copy]:
    """The jobs that the options ask for. One jobspec is made and reused when {cc} is not in use."""
    if args.input and submit_options.is_ranks(args.input):
        die("--input: which tasks get stdin can be said of flux run only: these jobs get none")
    varies = any("{cc}" in text for value in vars(args).values() for text in _texts(value))
    spec: dict[str, Any] | None = None
    mine = args
    for number in _numbers(args):
        if spec is None or varies:
            mine = submit_options.prepared(_substitute(args, "" if number is None else str(number)) if varies else args)
            spec = build_jobspec(mine)
        if args.cc:
            spec["attributes"]["system"]["environment"]["FLUX_JOB_CC"] = str(number)
        yield Copy(spec, mine, "" if number is None else f"cc={number}: ")


def _numbers(args: Any) -> Iterable[int | None]:
    if args.cc is not None and args.bcc is not None:
        raise CommandError("specify only one of --cc or --bcc")
    text = args.cc or args.bcc
    if not text:
        return [None]
    from flux.idset import IDset

    try:
        return IDset(text)
    except ValueError as exc:
        raise CommandError(f"--{'cc' if args.cc else 'bcc'}: {exc}") from None


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


def print_all(jobs: Iterable[Copy]) -> int:
    """What --dry-run does."""
    for job in jobs:
        print_jobspec(job.spec)
    return 0


def submit_all(name: str, args: Any, jobs: Iterable[Copy], total: int) -> int:
    """Submit all jobs, wait as the options say, and give the exit code.

    Args:
        name: of the command. total: how many jobs there are.
    """
    with open_flux() as handle:
        submitter = Submitter(name, handle, args, total)
        try:
            submitter.submit(jobs)
            return submitter.wait()
        finally:
            submitter.close()


class Submitter:
    """Jobs on their way: submissions are in flight together, and so are the waits for their ends."""

    def __init__(self, name: str, handle: Flux, args: Any, total: int) -> None:
        self._name = name
        self._handle = handle
        self._args = args
        self._flags = submit_options.job_flags(args)
        self._pending: deque[tuple[SubmitFuture, Copy]] = deque()
        self._jobs: list[tuple[JobID, Any]] = []
        self._logs: dict[str, TextIO] = {}
        self._code = 0
        self._event = "clean" if args.wait_event is None and args.wait else args.wait_event
        self._waits = self._event is not None or args.watch
        self._progress = self._open_progress(total)

    def _open_progress(self, total: int) -> SubmitProgress | None:
        if not self._args.progress:
            return None
        if not sys.stdout.isatty():
            warn(self._name, "stdout is not a tty. Ignoring --progress option")
            return None
        from flux_cli.submit_progress import SubmitProgress

        return SubmitProgress(total, "Running" if self._waits else "Submitting", self._args.jps)

    def close(self) -> None:
        """Close what is open: the bar, log files."""
        if self._progress is not None:
            self._progress.close()
        for stream in self._logs.values():
            stream.close()

    def submit(self, jobs: Iterable[Copy]) -> None:
        """Submit all jobs and print their ids; one that is refused does not stop the rest."""
        from flux.job.submit import submit_async

        for job in jobs:
            if len(self._pending) >= _IN_FLIGHT:
                self._take_id()
            urgency = submit_options.parse_urgency(job.args.urgency)
            self._pending.append((submit_async(self._handle, encode(job.spec), urgency, **self._flags), job))
        while self._pending:
            self._take_id()
        for stream in (sys.stdout, *self._logs.values()):
            stream.flush()

    def _take_id(self) -> None:
        future, job = self._pending.popleft()
        try:
            jobid = future.get_id()
        except OSError as exc:
            self._fail(f"{job.label}{exc}", job.args)
            self._advance(failed=True)
            return
        if not job.args.quiet:
            print(jobid, file=self._log(job.args.log) or sys.stdout)
        if self._waits:
            self._jobs.append((jobid, self._watch(jobid, job.args)))
        else:
            self._advance()

    def _advance(self, failed: bool = False) -> None:
        if self._progress is not None:
            self._progress.advance(failed)

    def _fail(self, text: str, args: Any = None, code: int = 1) -> None:
        log = self._log((args or self._args).log_stderr or (args or self._args).log)
        print(f"flux-{self._name}: {text}", file=log or sys.stderr, flush=True)
        self._code = max(self._code, code)

    def _log(self, path: str | None) -> TextIO | None:
        if path is None:
            return None
        if path not in self._logs:
            self._logs[path] = open(path, "w", encoding="utf-8")  # noqa: SIM115  # as long as the command
        return self._logs[path]

    # -- ends of jobs

    def _watch(self, jobid: JobID, args: Any) -> Any:
        if self._args.watch:
            return self._attach(jobid, args)
        if self._event == "clean":
            from flux.job.list import job_list_id

            return job_list_id(self._handle, jobid, _ATTRS, state=_INACTIVE)
        from flux.constants import FLUX_JOB_EVENT_WATCH_WAITCREATE
        from flux.job.event import event_watch_async

        if self._event.startswith(_EXEC):
            return event_watch_async(self._handle, jobid, "guest.exec.eventlog", FLUX_JOB_EVENT_WATCH_WAITCREATE)
        return event_watch_async(self._handle, jobid)

    def _attach(self, jobid: JobID, args: Any) -> Any:
        from flux_cli.attach import Attach

        out = self._log(args.log)
        err = self._log(args.log_stderr) or out
        attach = Attach(
            self._handle,
            jobid,
            label=args.label_io,
            stdin=None,
            interactive=False,
            name=self._name,
            out=out,
            err=err,
            prefix=f"{jobid}: ",
        )
        attach.start(lambda _attach: self._advance())
        return attach

    def wait(self) -> int:
        """Wait as the options say; gives the highest exit code of the jobs."""
        if self._args.watch and self._jobs:
            self._handle.reactor_run()
        for jobid, future in self._jobs:
            try:
                self._code = max(self._code, self._end_of(jobid, future))
            except OSError as exc:
                self._fail(f"{jobid}: {exc}")
            if not self._args.watch:
                self._advance()
        return self._code

    def _end_of(self, jobid: JobID, future: Any) -> int:
        if self._args.watch:
            future.close()
            return int(future.finish())
        if self._event == "clean":
            return self._ended(jobid, future.get_job())
        return self._event_of(jobid, future)

    def _event_of(self, jobid: JobID, watch: Any) -> int:
        name = self._event.removeprefix(_EXEC)
        while (event := watch.get_event()) is not None:
            if event.name == name:
                watch.cancel()
                return 0
        self._fail(f"{jobid}: the job ended without event '{self._event}'")
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
