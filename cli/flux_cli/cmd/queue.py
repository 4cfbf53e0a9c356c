"""`flux queue`: list queues, open and close them, wait until they are empty (flux-queue(1))."""

from __future__ import annotations

import argparse
import errno
import sys

from flux_cli.common import Action, Parser, die, dispatch, open_flux, parse_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from flux.core.handle import Flux

    Show = Callable[[str, dict[str, Any]], None]

DISABLED = "disabled by administrator"
_UNDONE = {"start": "stop", "enable": "disable"}


def command(argv: list[str]) -> int:
    return dispatch("queue", "List queues, open and close them, wait until they are empty.", ACTIONS, argv)


# -- list


def _list_arguments(parser: Parser) -> None:
    parser.add_argument("-q", "--queue", action="append", default=[], metavar="QUEUE,...", help="only these queues")
    parser.add_argument("-o", "--format", metavar="FORMAT", help="format, or its name; help lists")
    parser.add_argument("-n", "--no-header", action="store_true", help="leave out the line of headings")


def _list(args: argparse.Namespace) -> int:
    from flux_cli.queue_rows import list_queues

    return list_queues(args)


# -- status


def _queue_arguments(parser: Parser) -> None:
    parser.add_argument("-q", "--queue", dest="old_queue", metavar="NAME", help=argparse.SUPPRESS)
    parser.add_argument("-v", "--verbose", action="store_true", help="also how many jobs wait for the scheduler")
    parser.add_argument("queue", nargs="?", metavar="QUEUE", help="a queue")


def _queue_of(args: argparse.Namespace) -> str | None:
    if args.old_queue is not None and args.queue is not None:
        die(f"Conflicting queues specified as --queue={args.old_queue} and {args.queue}")
    queue: str | None = args.queue if args.old_queue is None else args.old_queue
    return queue


def _status(args: argparse.Namespace) -> int:
    queue = _queue_of(args)
    with open_flux() as handle:
        _show(handle, queue, args.verbose, _print_enable, _print_start)
        if args.verbose:
            _print_waiting(handle)
    return 0


def _show(handle: Flux, queue: str | None, every: bool, *lines: Show) -> None:
    """Print lines about a queue, or about all of them."""
    names = handle.rpc("job-manager.queue-list").get()["queues"] if queue is None or every else [queue]
    for name in names or [None]:
        status = _request(handle, "status", {} if name is None else {"name": name})
        for line in lines:
            line("" if name is None else f"{name}: ", status)


def _print_enable(prefix: str, status: dict[str, Any]) -> None:
    text = "enabled" if status["enable"] else f"disabled: {status['disable_reason']}"
    print(f"{prefix}Job submission is {text}")


def _print_start(prefix: str, status: dict[str, Any]) -> None:
    reason = f": {status['stop_reason']}" if "stop_reason" in status else ""
    print(f"{prefix}Scheduling is {'started' if status['start'] else 'stopped' + reason}")


def _print_waiting(handle: Flux) -> None:
    counts = handle.rpc("job-manager.alloc-query").get()
    print(f"{counts['queue_length']} alloc requests queued")
    print(f"{counts['alloc_pending']} alloc requests pending to scheduler")
    print(f"{counts['running']} running jobs")


def _request(handle: Flux, method: str, payload: dict[str, Any]) -> Any:
    try:
        return handle.rpc(f"job-manager.queue-{method}", payload, nodeid=0).get()
    except OSError as exc:
        die(f"{_UNDONE[method] if payload.get(method) is False else method}: {exc}")


# -- enable, disable, start, stop


def _change_arguments(parser: Parser) -> None:
    parser.add_argument("-a", "--all", action="store_true", help="all queues")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    _queue_arguments(parser)


def _close_arguments(parser: Parser) -> None:
    parser.add_argument("--nocheckpoint", action="store_true", help="a restart of the instance undoes it")
    parser.add_argument("-m", "--message", metavar="REASON", help="what users are told")
    _change_arguments(parser)


def _enable(args: argparse.Namespace) -> int:
    return _change(args, "enable", {"enable": True}, _print_enable)


def _disable(args: argparse.Namespace) -> int:
    payload = {"enable": False, "reason": args.message or DISABLED, "nocheckpoint": args.nocheckpoint}
    return _change(args, "enable", payload, _print_enable)


def _start(args: argparse.Namespace) -> int:
    return _change(args, "start", {"start": True}, _print_start)


def _stop(args: argparse.Namespace) -> int:
    payload = {"start": False, "nocheckpoint": args.nocheckpoint}
    if args.message:
        payload["reason"] = args.message
    return _change(args, "start", payload, _print_start)


def _change(args: argparse.Namespace, method: str, payload: dict[str, Any], line: Show) -> int:
    queue = _queue_of(args)
    payload["all"] = args.all
    if queue is not None:
        payload["name"] = queue
    with open_flux() as handle:
        if queue is None and not args.all and handle.rpc("job-manager.queue-list").get()["queues"]:
            die("Named queues are defined. Specify queues or use --all.")
        _request(handle, method, payload)
        if not args.quiet:
            _show(handle, queue, args.verbose, line)
            if args.verbose and method == "start":
                _print_waiting(handle)
    return 0


# -- drain, idle


def _drain_arguments(parser: Parser) -> None:
    help = "give up after this time, such as 30s"
    parser.add_argument("-t", "--timeout", type=parse_duration, default=-1.0, metavar="DURATION", help=help)


def _idle_arguments(parser: Parser) -> None:
    _drain_arguments(parser)
    parser.add_argument("--quiet", action="store_true", help="print the number of pending jobs only if there are any")


def _drain(args: argparse.Namespace) -> int:
    _wait("drain", args.timeout)
    return 0


def _idle(args: argparse.Namespace) -> int:
    pending = _wait("idle", args.timeout)["pending"]
    if pending or not args.quiet:
        print(f"{pending} jobs")
    return 0


def _wait(method: str, timeout: float) -> Any:
    sys.stdout.flush()
    with open_flux() as handle:
        waiting = handle.rpc(f"job-manager.{method}")
        try:
            waiting.wait_for(timeout)
            return waiting.get()
        except OSError as exc:
            die(f"{method}: {'timeout' if exc.errno == errno.ETIMEDOUT else exc}")


ACTIONS = {
    "list": Action(_list, "list queues, their state and limits", _list_arguments),
    "status": Action(_status, "say whether a queue takes jobs and runs them", _queue_arguments),
    "enable": Action(_enable, "take jobs", _change_arguments),
    "disable": Action(_disable, "take no more jobs", _close_arguments),
    "start": Action(_start, "let jobs get resources", _change_arguments),
    "stop": Action(_stop, "let no more jobs get resources", _close_arguments),
    "drain": Action(_drain, "wait until no job is left", _drain_arguments),
    "idle": Action(_idle, "wait until no job runs", _idle_arguments),
}
