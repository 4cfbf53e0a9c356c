"""`flux job cancel|cancelall|kill|killall|raise|raiseall|urgency` (flux-job(1))."""

from __future__ import annotations

import argparse
from contextlib import contextmanager

from flux_cli.common import Parser, die, open_flux
from flux_cli.job_bulk import add_selection, kill_all, parse_states, parse_user, raise_all
from flux_cli.job_ids import parse_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flux.core.handle import Flux
    from flux.job.JobID import JobID


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


@contextmanager
def _about(jobid: JobID) -> Iterator[None]:
    """Name the job in what is said of a failed request."""
    try:
        yield
    except OSError as exc:
        die(f"{jobid.orig}: {exc}")


def _note(words: list[str]) -> str | None:
    return " ".join(words) if words else None


# -- one job


def cancel_arguments(parser: Parser) -> None:
    parser.add_argument("id", type=parse_id, metavar="JOBID")
    parser.add_argument("message", nargs="*", help="why, for the job's eventlog")


def cancel(args: argparse.Namespace) -> int:
    return _raise(args, "cancel", 0)


def raise__arguments(parser: Parser) -> None:
    cancel_arguments(parser)
    parser.add_argument("-s", "--severity", type=parse_severity, default=0, metavar="N", help="0 (fatal) to 7")
    parser.add_argument("-t", "--type", default="cancel", metavar="TYPE", help="type of exception (cancel)")


def raise_(args: argparse.Namespace) -> int:
    return _raise(args, args.type, args.severity)


def _raise(args: argparse.Namespace, type: str, severity: int) -> int:
    from flux.job.kill import raise_exception

    with open_flux() as handle, _about(args.id):
        raise_exception(handle, args.id, type, severity, _note(args.message))
    return 0


def kill_arguments(parser: Parser) -> None:
    parser.add_argument("id", type=parse_id, metavar="JOBID")
    _signal_argument(parser)


def _signal_argument(parser: Parser) -> None:
    parser.add_argument("-s", "--signal", type=parse_signal, default=15, metavar="SIG", help="signal (SIGTERM)")


def kill(args: argparse.Namespace) -> int:
    from flux.job.kill import kill as kill_job

    with open_flux() as handle, _about(args.id):
        kill_job(handle, args.id, args.signal)
    return 0


def urgency_arguments(parser: Parser) -> None:
    parser.add_argument("id", type=parse_id, metavar="JOBID")
    parser.add_argument("urgency", metavar="N", help="0 to 31, or hold, default, expedite")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the urgency it had")


def urgency(args: argparse.Namespace) -> int:
    from flux_cli.submit_options import parse_urgency

    with open_flux() as handle, _about(args.id):
        answer = handle.rpc("job-manager.urgency", {"id": args.id, "urgency": parse_urgency(args.urgency)}).get()
    if args.verbose:
        print(f"old urgency: {answer['old_urgency']}")
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
    states, user, note = parse_states(args.states), parse_user(args.user), _note(args.message)
    return _bulk(args, lambda handle, dry: raise_all(handle, type, severity, note, states, user, dry))


def killall_arguments(parser: Parser) -> None:
    _signal_argument(parser)
    parser.add_argument("-u", "--user", metavar="USER", help="user whose jobs are meant; all for every user")
    parser.add_argument("-f", "--force", action="store_true", help="do it; without, only the number is told")
    parser.set_defaults(quiet=False)


def killall(args: argparse.Namespace) -> int:
    user = parse_user(args.user)
    return _bulk(args, lambda handle, dry: kill_all(handle, args.signal, user, dry))


def _bulk(args: argparse.Namespace, act: Callable[[Flux, bool], tuple[int, int]]) -> int:
    with open_flux() as handle:
        count, errors = act(handle, not args.force)
    if count and not args.force:
        die(f"the command matches {count} jobs; -f confirms it")
    if not (args.quiet and not count):
        print(f"flux-job: {count} jobs matched, {errors} errors")
    return 1 if errors else 0
