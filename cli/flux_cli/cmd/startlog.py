"""`flux startlog`: when the instance was started and ended, and whether it crashed (flux-startlog(1))."""

from __future__ import annotations

import time

from flux_cli.common import Parser, die, open_flux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flux.eventlog import Event

KEY = "admin.eventlog"


def command(argv: list[str]) -> int:
    parser = Parser("startlog", "List the start and finish times of the instance.")
    parser.add_argument("--check", action="store_true", help="fail when the run before this one has crashed")
    parser.add_argument("--quiet", action="store_true", help="list nothing; for --check")
    parser.add_argument("-v", "--show-version", action="store_true", help="show the version at each start")
    args = parser.parse_args(argv)
    runs = list(read_runs(_events()))
    if not args.quiet:
        for number, (start, finish) in enumerate(runs, 1):
            print(_line(start, finish, last=number == len(runs), version=args.show_version))
    return 1 if args.check and len(runs) > 1 and runs[-2][1] is None else 0


def _events() -> list[Event]:
    from flux.eventlog import decode
    from flux.kvs.requests import lookup_async

    with open_flux() as handle:
        try:
            return decode(lookup_async(handle, KEY).value())
        except FileNotFoundError:
            return []
        except ValueError as exc:
            die(f"{KEY}: {exc}")


def read_runs(events: Sequence[Event]) -> Iterator[tuple[Event, Event | None]]:
    """Each start with its finish, which is None for a run that has crashed or goes on."""
    start = None
    for event in events:
        if event.name == "start":
            if start is not None:
                yield start, None
            start = event
        elif event.name == "finish" and start is not None:
            yield start, event
            start = None
    if start is not None:
        yield start, None


def _line(start: Event, finish: Event | None, *, last: bool, version: bool) -> str:
    from flux_cli.cmd.uptime import duration

    begun = f"{start.context.get('core_version', ''):>25}  " if version else ""
    begun += f"{_time(start)} - "
    if finish is not None:
        return f"{begun}{_time(finish)} ({duration(finish.timestamp - start.timestamp)})"
    return f"{begun}running ({duration(time.time() - start.timestamp)})" if last else f"{begun}crashed"


def _time(event: Event) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(event.timestamp))
