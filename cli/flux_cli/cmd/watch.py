"""`flux watch`: show the output of jobs until all have ended (flux-watch(1))."""

from __future__ import annotations

import os
import sys
from collections import deque

from flux_cli.attach import Attach
from flux_cli.common import Parser, die, open_flux, warn
from flux_cli.job_query import ALL_STATES, PENDING_AND_RUNNING, fetch, since, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from flux.core.handle import Flux
    from flux.job.info import JobInfo
    from flux_cli.watch_progress import JobProgress, WatchProgress

_USAGE = 2
_AT_ONCE = 256
"""Jobs that are followed at once: each takes three streams of events."""


def command(argv: list[str]) -> int:
    args = _parser().parse_intermixed_args(argv)
    start = since(args.since, _USAGE)
    wanted = _filters(args)
    if not wanted and not args.jobids:
        die("At least one job selection option is required\nTry 'flux watch --help' for more information.")
    if args.jobids and (wanted or args.count != 1000):
        warn("watch", "WARNING: Filtering options ignored with jobid list")
    with open_flux() as handle:
        query = {"filters": wanted, "ids": args.jobids, "since": start, "user": os.getuid()}
        jobs, _ = fetch("watch", handle, args.count, ["t_submit", "state"], **query)
        if not jobs:
            warn("watch", "No matching jobs")
            return 0
        if args.verbose:
            warn("watch", f"Watching {len(jobs)} jobs")
        began = max(start, float(handle.attr_get("broker.starttime"))) if args.all or start else 0.0
        return _Watcher(handle, args, jobs, began).run()


def _parser() -> Parser:
    parser = Parser("watch", "Show the output of jobs until all of them have ended.")
    parser.add_argument("jobids", nargs="*", metavar="JOBID", help="these jobs")
    parser.add_argument("-a", "--active", action="store_true", help="active jobs of this user")
    parser.add_argument("-A", "--all", action="store_true", help="all jobs of this user, also inactive ones")
    parser.add_argument("-c", "--count", type=int, default=1000, metavar="N", help="at most N jobs (0: no limit)")
    parser.add_argument("-f", "--filter", action="append", metavar="STATE|RESULT", help="jobs in these states")
    parser.add_argument("--since", metavar="WHEN", help="only jobs that were active since then")
    parser.add_argument("--progress", action="store_true", help="show a bar of how far the jobs have come")
    parser.add_argument("--jps", action="store_true", help="with --progress, show jobs per second")
    parser.add_argument("-l", "--label-io", action="store_true", help="begin lines of output with job and task")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="say how jobs end; twice: show all events")
    return parser


def _filters(args: Namespace) -> list[str]:
    wanted = words(args.filter)
    if args.active:
        wanted += PENDING_AND_RUNNING
    if args.all or (args.since and not args.filter):
        wanted += ALL_STATES
    return wanted


class _Watcher:
    """Follows jobs, some at a time.

    Args:
        began: from when on --progress counts; 0.0 for the submission of the first job.
    """

    def __init__(self, handle: Flux, args: Namespace, jobs: list[JobInfo], began: float) -> None:
        self._handle = handle
        self._args = args
        self._waiting = deque(jobs)
        self._code = 0
        self._left = False
        self._progress = self._open_progress(len(jobs), began or min(job.t_submit for job in jobs))

    def _open_progress(self, total: int, began: float) -> WatchProgress | None:
        if not self._args.progress:
            return None
        if not sys.stdout.isatty():
            warn("watch", "WARNING: stdout is not a tty. Ignoring --progress option")
            return None
        from flux_cli.watch_progress import WatchProgress

        return WatchProgress(total, began, self._args.jps)

    def run(self) -> int:
        """Follow all jobs to their ends; gives the highest of their exit codes."""
        for _ in range(min(_AT_ONCE, len(self._waiting))):
            self._start_next()
        try:
            self._handle.reactor_run()
        except BaseException:
            self._left = True  # what ends from now on ends because the connection is closed
            raise
        finally:
            if self._progress is not None:
                self._progress.close()
        return self._code

    def _start_next(self) -> None:
        job = self._waiting.popleft()
        status = self._status()
        out = self._progress or None
        attach = Attach(
            self._handle,
            job.id,
            label=self._args.label_io,
            stdin=None,
            show_events=self._args.verbose > 1,
            interactive=False,
            name=f"watch: {job.id}",
            status=status,  # type: ignore[arg-type]
            out=out,  # type: ignore[arg-type]
            err=out,  # type: ignore[arg-type]
            prefix=f"{job.id}: ",
        )
        attach.start(lambda over: self._ended(job, over, status))

    def _status(self) -> JobProgress | None:
        if self._progress is None:
            return None
        from flux_cli.watch_progress import JobProgress

        return JobProgress(self._progress)

    def _ended(self, job: JobInfo, attach: Attach, status: JobProgress | None) -> None:
        if self._left:
            return
        attach.close()
        try:
            code = attach.finish()
        except OSError as exc:
            warn("watch", str(exc))
            code = 1
        self._code = max(self._code, code)
        if self._args.verbose and not code:
            warn("watch", f"{job.id}: completed")
        if status is not None:
            status.ended(code != 0)
        if self._waiting:
            self._start_next()
