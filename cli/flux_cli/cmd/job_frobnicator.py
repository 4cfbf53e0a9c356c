"""`flux job-frobnicator`: change jobs, one on each line of stdin (flux-config-ingest(5))."""

from __future__ import annotations

import json

from flux_cli.job_filters import answer_each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.job.frobnicator import JobFrobnicator


def command(argv: list[str]) -> int:
    from flux.job.frobnicator import JobFrobnicator

    return answer_each("job-frobnicator", "Change jobs, from lines of JSON on stdin.", JobFrobnicator, argv, _answer)


def _answer(stack: JobFrobnicator, info: dict[str, Any]) -> tuple[str, int]:
    return json.dumps(stack.answer(info)), 0
