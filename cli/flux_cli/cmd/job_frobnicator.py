"""`flux job-frobnicator`: change jobs, one on each line of stdin (flux-config-ingest(5))."""

from __future__ import annotations

import json
import sys

from flux_cli.job_filters import list_plugins, start, stdin_objects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.job.frobnicator import JobFrobnicator


def command(argv: list[str]) -> int:
    from flux.job.frobnicator import JobFrobnicator

    stack: JobFrobnicator = start("job-frobnicator", "Change jobs, from lines of JSON on stdin.", JobFrobnicator, argv)
    if stack.args.list_plugins:
        return list_plugins(stack)
    for info in stdin_objects(stack.args.jobspec_only):
        sys.stdout.write(json.dumps(stack.answer(info)) + "\n")
        sys.stdout.flush()
    return 0
