"""`flux job-validator`: validate jobs, one on each line of stdin (flux-config-ingest(5))."""

from __future__ import annotations

import sys

from flux_cli.job_filters import list_plugins, start, stdin_objects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.job.validator import JobValidator


def command(argv: list[str]) -> int:
    from flux.job.validator import JobValidator, ValidatorJobInfo

    stack: JobValidator = start("job-validator", "Validate jobs, from lines of JSON on stdin.", JobValidator, argv)
    if stack.args.list_plugins:
        return list_plugins(stack)
    code = 0
    for info in stdin_objects(stack.args.jobspec_only):
        result = stack.validate(ValidatorJobInfo(info))
        if stack.args.jobspec_only and not result.success:
            code = 1
        sys.stdout.write(f"{result}\n")
        sys.stdout.flush()
    return code
