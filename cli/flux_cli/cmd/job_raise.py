"""`flux job cancel|cancelall|kill|killall|raise|raiseall|urgency` (flux-job(1))."""

from __future__ import annotations

import argparse
import sys

from flux_cli.common import Parser, die, open_flux, warn
from flux_cli.job_bulk import add_selection, kill_all, parse_states, parse_user, raise_all
from flux_cli.job_ids import parse_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from flux.core.handle import Flux
    from flux.job.JobID import JobID

_HELD, _EXPEDITED = 0, 31
_DEEDS = {1: "Hung up", 2: "Interrupted", 6: "Aborted", 9: "Killed", 15: "Terminated", 18: "Continued", 19: "Stopped"}
"""What becomes of jobs that get a signal; those that get another one are "Signaled"."""


def parse_signal(text: str) -> int:
    """A signal by number or name, with or without SIG (an argparse type)."""
    import signal

    name = text.upper()
    if text.isdecimal() and 0 < int(text) < signal.NSIG:
        return int(text)
    try:
        return int(signal.Signals[name if name.startswith("SIG") else f"SIG{name}"])
    except KeyError:
        raise argparse.ArgumentTypeError(f"there is no signal '{text}'") from None


def parse_severity(text: str) -> int:
    """A severity, 0 to 7 (an argparse type)."""
    if not text.isdecimal() or int(text) > 7:
        raise argparse.ArgumentTypeError(f"a severity is 0 (fatal) to 7, not '{text}'")
    return int(text)


def _all_done(verb: str, requests: Iterable[tuple[JobID, Any]]) -> int:
    """Wait for the answers to requests about jobs; 1 when one was refused, which is told with the job's name."""
    failures = 0
    for jobid, request in requests:
        try:
            request.get()
        except OSError as exc:
            warn("job", f"{verb} {jobid.orig}: {exc}")
            failures = 1
    return failures


# -- some jobs


def cancel_arguments(parser: Parser) -> None:
    parser.add_argument("words", nargs="+", metavar="JOBID", help="jobs; what is no job id begins the MESSAGE")
    parser.add_argument("-m", "--message", metavar="NOTE", help="why, for the job's eventlog; may be behind -- as well")


def cancel(args: argparse.Namespace) -> int:
    return _raise(args, "cancel", 0)


def raise__arguments(parser: Parser) -> None:
    cancel_arguments(parser)
    parser.add_argument("-s", "--severity", type=parse_severity, default=0, metavar="N", help="0 (fatal) to 7")
    parser.add_argument("-t", "--type", default="cancel", metavar="TYPE", help="type of exception (cancel)")


def raise_(args: argparse.Namespace) -> int:
    return _raise(args, args.type, args.severity)


def message_as_option(argv: list[str]) -> list[str]:
    """`JOBID... -- MESSAGE...` as `JOBID... --message=MESSAGE`: the parser forgets where "--" was."""
    if "--" not in argv:
        return argv
    where = argv.index("--")
    return [*argv[:where], f"--message={' '.join(argv[where + 1 :])}"]


def _raise(args: argparse.Namespace, type: str, severity: int) -> int:
    from flux.job.kill import job_raise_async

    ids, words = _ids_and_message(args.words)
    if words and args.message is not None:
        die("give the message by --message or after the job ids, not both")
    note = args.message if args.message is not None else " ".join(words) or None
    with open_flux() as handle:
        return _all_done("raise", [(jobid, job_raise_async(handle, jobid, type, severity, note)) for jobid in ids])


def _ids_and_message(words: list[str]) -> tuple[list[JobID], list[str]]:
    ids: list[JobID] = []
    for number, word in enumerate(words):
        try:
            ids.append(parse_id(word))
        except argparse.ArgumentTypeError as exc:
            if not ids:
                die(str(exc))
            return ids, words[number:]
    return ids, []


def kill_arguments(parser: Parser) -> None:
    parser.add_argument("ids", nargs="+", type=parse_id, metavar="JOBID")
    _signal_argument(parser)


def _signal_argument(parser: Parser) -> None:
    parser.add_argument("-s", "--signal", type=parse_signal, default=15, metavar="SIG", help="signal (SIGTERM)")


def kill(args: argparse.Namespace) -> int:
    from flux.job.kill import kill_async

    with open_flux() as handle:
        return _all_done("kill", [(jobid, kill_async(handle, jobid, args.signal)) for jobid in args.ids])


def urgency_arguments(parser: Parser) -> None:
    parser.add_argument("id", type=parse_id, metavar="JOBID")
    parser.add_argument("urgency", metavar="N", help="0 to 31, or hold, default, expedite")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the urgency it had")


def urgency(args: argparse.Namespace) -> int:
    from flux_cli.submit_options import parse_urgency

    request = {"id": args.id, "urgency": parse_urgency(args.urgency.lower())}
    with open_flux() as handle:
        try:
            former = handle.rpc("job-manager.urgency", request).get()["old_urgency"]
        except OSError as exc:
            die(f"{args.id.orig}: {exc}")
    if args.verbose:
        names = {_HELD: "job held", _EXPEDITED: "job expedited"}
        print(f"old urgency: {names.get(former, former)}", file=sys.stderr)
    return 0


# -- many jobs


def _bulk_arguments(parser: Parser) -> None:
    add_selection(parser)
    parser.add_argument("-f", "--force", action="store_true", help="do it; without, only the number is told")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing when no job matches")


def cancelall_arguments(parser: Parser) -> None:
    parser.add_argument("message", nargs="*", help="why, for the jobs' eventlogs")
    _bulk_arguments(parser)


def cancelall(args: argparse.Namespace) -> int:
    return _raiseall(args, "cancel", 0)


def raiseall_arguments(parser: Parser) -> None:
    parser.add_argument("type", metavar="TYPE", help="type of exception")
    parser.add_argument("message", nargs="*", help="note of the exception")
    parser.add_argument("-s", "--severity", type=parse_severity, default=7, metavar="N", help="0 (fatal) to 7 (7)")
    _bulk_arguments(parser)


def raiseall(args: argparse.Namespace) -> int:
    return _raiseall(args, args.type, args.severity)


def _raiseall(args: argparse.Namespace, type: str, severity: int) -> int:
    states, user, note = parse_states(args.states), parse_user(args.user), " ".join(args.message) or None
    deed = "Canceled" if (type, severity) == ("cancel", 0) else "Raised exception on"
    return _bulk(args, deed, lambda handle, dry: raise_all(handle, type, severity, note, states, user, dry))


def killall_arguments(parser: Parser) -> None:
    _signal_argument(parser)
    parser.add_argument("-u", "--user", metavar="USER", help="user whose jobs are meant; all for every user")
    parser.add_argument("-f", "--force", action="store_true", help="do it; without, only the number is told")
    parser.set_defaults(quiet=False)


def killall(args: argparse.Namespace) -> int:
    user = parse_user(args.user)
    deed = _DEEDS.get(args.signal, "Signaled")
    return _bulk(args, deed, lambda handle, dry: kill_all(handle, args.signal, user, dry))


def _bulk(args: argparse.Namespace, deed: str, act: Callable[[Flux, bool], tuple[int, int]]) -> int:
    with open_flux() as handle:
        count, errors = act(handle, not args.force)
    jobs = f"{count} job{'s' if count != 1 else ''}"
    if count and args.force:
        warn("job", f"{deed} {jobs} ({errors} errors)")
    elif count or not args.quiet:
        warn("job", f"Command matched {jobs}{' (-f to confirm)' if count else ''}")
    return 1 if errors else 0
