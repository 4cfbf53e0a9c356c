"""`flux alloc`: start an instance as a job and be in it (flux-alloc(1))."""

from __future__ import annotations

import sys
import time

from flux_cli import submit_options
from flux_cli.cmd.run import encode, print_jobspec, status_line
from flux_cli.common import die
from flux_cli.errors import CommandError
from flux_cli.submit_nested import OPTIONS, instance_jobspec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.core.handle import Flux

_ALLOC: list[submit_options.Option] = [
    *OPTIONS,
    submit_options.flag("--bg", help="do not attach: print the job's id when the instance is ready"),
    (("-v", "--verbose"), {"action": "count", "default": 0, "help": "say more on stderr; may be repeated"}),
]


def command(argv: list[str]) -> int:
    description = "Start an instance as a job, and attach to it."
    args = submit_options.make_parser("alloc", description, _ALLOC, argv, "[COMMAND] [ARGS...]").parse_args(argv)
    if submit_options.wants_plugin_list(args):
        return 0
    if args.bg and not args.command:
        args.broker_opts.append("-Sbroker.rc2_none=1")
    args.setopt = [*_terminal(args), *args.setopt]
    args = submit_options.prepared(args)
    spec = instance_jobspec(args, args.command, {})
    if args.dry_run:
        print_jobspec(spec)
        return 0
    urgency, flags = submit_options.parse_urgency(args.urgency), submit_options.job_flags(args)
    from flux.core.handle import Flux
    from flux.job.submit import submit_async

    with Flux() as handle:
        jobid = submit_async(handle, encode(spec), urgency, **flags).get_id()
        return _background(handle, jobid, args) if args.bg else _attach(handle, jobid, args)


def _terminal(args: Any) -> list[str]:
    """A terminal for the shell, to which somebody attaches only without --bg."""
    if args.bg:
        return ["pty.capture"]
    return ["pty.interactive"] if sys.stdin.isatty() else []


def _attach(handle: Flux, jobid: Any, args: Any) -> int:
    from flux_cli.attach import Attach

    status = status_line(handle, jobid)
    return Attach(handle, jobid, announce=args.verbose > 0, show_events=args.verbose > 1, status=status).run()


# -- --bg


def _background(handle: Flux, jobid: Any, args: Any) -> int:
    start = time.time()

    def say(text: str) -> None:
        if args.verbose:
            print(f"{jobid}: {time.time() - start:6.3f}s: {text}", file=sys.stderr, flush=True)

    try:
        say("waiting for resources")
        uri = _uri_of(handle, jobid, say)
        say("waiting for instance")
        _wait_until_ready(jobid, uri)
    except KeyboardInterrupt:
        from flux.job.kill import cancel

        print(f"\r{jobid}: Interrupt: canceling job", file=sys.stderr)
        cancel(handle, jobid)
        return 1
    say("ready")
    if not args.quiet:
        print(jobid)
    return 0


def _uri_of(handle: Flux, jobid: Any, say: Any) -> str:
    """Wait until the instance tells where it is; what it printed is shown when it ended before."""
    from flux.job.event import event_watch_async

    watch = event_watch_async(handle, jobid)
    while (event := watch.get_event()) is not None:
        if event.name == "alloc":
            say("resources allocated")
        elif event.name == "memo" and "uri" in event.context:
            watch.cancel()
            return str(event.context["uri"])
    from flux_cli.attach import Attach

    Attach(handle, jobid, stdin=None, interactive=False, name="alloc").run()
    raise CommandError(f"{jobid}: unexpectedly exited")


def _wait_until_ready(jobid: Any, uri: str) -> None:
    from flux.core.handle import Flux
    from flux.uri import JobURI

    try:
        with Flux(JobURI(uri).nearest) as child:
            child.rpc("state-machine.wait").get()
    except OSError as exc:
        die(f"{jobid}: instance startup failed: {exc}")
