"""`flux submit`: submit a job, or many copies of it (flux-submit(1))."""

from __future__ import annotations

from flux_cli import submit_options
from flux_cli.submit_many import OPTIONS, copies, copy_count, print_all, submit_all


def command(argv: list[str]) -> int:
    args = submit_options.parse("submit", "Submit jobs and print their ids.", OPTIONS, argv)
    if submit_options.wants_plugin_list(args):
        return 0
    if args.dry_run:
        return print_all(copies(args))
    return submit_all("submit", args, copies(args), copy_count(args) if args.progress else 0)
