"""`flux bulksubmit`: a job for each of many inputs (flux-bulksubmit(1))."""

from __future__ import annotations

import argparse

from flux_cli import submit_options
from flux_cli.bulk_inputs import (
    Input,
    combinations,
    compile_definitions,
    fill,
    fill_words,
    separator,
    split_command,
)
from flux_cli.common import die
from flux_cli.submit_many import OPTIONS, Copy, copies, copy_count, submit_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_BULK: list[submit_options.Option] = [
    *OPTIONS,
    (("--shuffle",), {"action": "store_true", "help": "submit in random order"}),
    (("--sep",), {"metavar": "STRING", "default": "\\n", "help": "what separates inputs in files; none: white space"}),
    submit_options.several("--define", metavar="NAME=CODE", help="{.NAME} stands for this Python expression of x"),
]

_FILLED = {
    "queue": "-q",
    "bank": "-B",
    "ntasks": "-n",
    "nodes": "-N",
    "cores_per_task": "-c",
    "gpus_per_task": "-g",
    "cores": "--cores=",
    "tasks_per_node": "--tasks-per-node=",
    "tasks_per_core": "--tasks-per-core=",
    "gpus_per_node": "--gpus-per-node=",
    "time_limit": "-t",
    "env": "--env=",
    "urgency": "--urgency=",
    "setopt": "-o ",
    "setattr": "--setattr=",
    "job_name": "--job-name=",
    "input": "--input=",
    "output": "--output=",
    "error": "--error=",
    "cc": "--cc=",
    "bcc": "--bcc=",
    "log": "--log=",
    "log_stderr": "--log-stderr=",
    "dependency": "--dependency=",
    "taskmap": "--taskmap=",
    "requires": "--requires=",
    "cwd": "--cwd=",
    "begin_time": "--begin-time=",
    "signal": "--signal=",
    "rlimit": "--rlimit=",
    "add_file": "--add-file=",
}
"""Options that inputs may be put into, and how they are shown."""


def command(argv: list[str]) -> int:
    parser = submit_options.make_parser("bulksubmit", "Submit a job for each of many inputs.", _BULK, argv)
    args = parser.parse_args(argv)
    if submit_options.wants_plugin_list(args):
        return 0
    submit_options.drop_double_dash(args.command)
    jobs = list(_filled(args))
    if not jobs:
        die("no jobs provided for bulk submission")
    if args.shuffle:
        from random import shuffle

        shuffle(jobs)
    if args.dry_run:
        return _show(args, jobs)
    total = sum(map(copy_count, jobs)) if args.progress else 0
    return submit_all("bulksubmit", args, _copies(args, jobs), total)


def _filled(args: Any) -> Iterator[argparse.Namespace]:
    """The options and the command of each job, before copies are made."""
    define = compile_definitions(args.define) if args.define else {}
    words, lists = split_command(args.command)
    options = {name: value for name in _FILLED if _has_placeholder(value := getattr(args, name))}
    for number, texts in enumerate(combinations(lists, separator(args.sep))):
        inputs = [Input(text, define) for text in texts]
        names = {"seq": number, "seq1": number + 1, "cc": "{cc}"}
        changed = {name: _fill(value, inputs, names) for name, value in options.items()}
        yield argparse.Namespace(**{**vars(args), **changed, "command": fill_words(words, inputs, names)})


def _has_placeholder(value: Any) -> bool:
    return any("{" in text for text in (value if isinstance(value, list) else [value or ""]))


def _fill(value: Any, inputs: list[Input], names: dict[str, Any]) -> Any:
    return [fill(text, inputs, names) for text in value] if isinstance(value, list) else fill(value, inputs, names)


def _copies(args: Any, jobs: list[argparse.Namespace]) -> Iterator[Copy]:
    for job in jobs:
        if args.verbose:
            print(f"bulksubmit: submit {_shown(args, job)}")
        yield from copies(job)


def _show(args: Any, jobs: list[argparse.Namespace]) -> int:
    if args.progress:
        print(f"bulksubmit: submitting a total of {sum(map(copy_count, jobs))} jobs")
    for job in jobs:
        print(f"bulksubmit: submit {_shown(args, job)}")
    return 0


def _shown(args: Any, job: argparse.Namespace) -> str:
    """The options that differ from job to job, and the command."""
    words = []
    for name, option in _FILLED.items():
        value = getattr(job, name)
        if value and (value != getattr(args, name) or name == "cc"):
            words += [f"{option}{text}" for text in (value if isinstance(value, list) else [value])]
    return " ".join([*words, *job.command])
