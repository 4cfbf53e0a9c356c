"""`flux job-validator`: validate jobs, one on each line of stdin (flux-config-ingest(5))."""

from __future__ import annotations

from flux_cli.job_filters import answer_each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.job.validator import JobValidator


def command(argv: list[str]) -> int:
    from flux.job.validator import JobValidator

    return answer_each("job-validator", "Validate jobs, from lines of JSON on stdin.", JobValidator, argv, _answer)


def _answer(stack: JobValidator, info: dict[str, Any]) -> tuple[str, int]:
    result = stack.validate(info)
    return str(result), int(stack.args.jobspec_only and not result.success)
