"""`flux run`: submit a job and follow it to its end, in one process and over one connection (flux-run(1))."""

from __future__ import annotations

import sys

from flux_cli import submit_options
from flux_cli.errors import CommandError
from flux_cli.submit_jobspec import build_jobspec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.core.handle import Flux


_RUN: list[submit_options.Option] = [
    *submit_options.COMMON,
    submit_options.value("--wait-event", metavar="NAME", help="follow events up to this one, as flux job attach does"),
]


def command(argv: list[str]) -> int:
    args = submit_options.parse("run", "Run a program in parallel and wait for it.", _RUN, argv)
    if submit_options.wants_plugin_list(args):
        return 0
    args = submit_options.prepared(args)
    spec = build_jobspec(args)
    if args.dry_run:
        print_jobspec(spec)
        return 0
    urgency, flags = submit_options.parse_urgency(args.urgency), submit_options.job_flags(args)
    from flux.core.handle import Flux

    with Flux() as handle:
        return _run(handle, spec, urgency, flags, args)


def _run(handle: Flux, spec: dict[str, Any], urgency: int, flags: dict[str, bool], args: Any) -> int:
    from flux.job.submit import submit_async

    stdin = stdin_ranks(args.input)
    submission = submit_async(handle, encode(spec), urgency, **flags)
    from flux_cli.attach import Attach  # while the instance takes the job

    jobid = submission.get_id()
    attach = Attach(
        handle,
        jobid,
        label=args.label_io,
        debug=args.debug_emulate,
        stdin=stdin,
        show_events=args.verbose > 1,
        show_exec=args.verbose > 2,
        announce=args.verbose > 0,
        wait_event=args.wait_event or "clean",
        status=status_line(handle, jobid),
    )
    return attach.run()


def status_line(handle: Flux, jobid: Any) -> Any:
    """What a terminal shows while the job waits."""
    if not sys.stderr.isatty():
        return None
    from flux_cli.attach_status import StatusLine, is_wanted

    return StatusLine(handle, jobid, at_once=False) if is_wanted() else None


def stdin_ranks(text: str | None) -> str | None:
    """Which task ranks get stdin, by --input: an idset or "all"; None for a file. CommandError for no idset."""
    if text is None or text == "all":
        return "all"
    if not submit_options.is_ranks(text):
        return None
    from flux.idset import IDset

    try:
        return str(IDset(text))
    except ValueError as exc:
        raise CommandError(f"--input: {exc}") from None


def encode(spec: dict[str, Any]) -> bytes:
    """A jobspec as JSON. Bytes of the environment or of arguments that are no UTF-8 become U+FFFD."""
    from flux import jsontext

    try:
        return jsontext.encode(spec)
    except UnicodeEncodeError:
        return jsontext.encode(_clean(spec))


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list) else value


def print_jobspec(spec: dict[str, Any]) -> None:
    """What --dry-run prints: one line of JSON."""
    sys.stdout.write(encode(spec).decode() + "\n")
