"""`flux top`: what an instance of Flux does, live (flux-top(1))."""

from __future__ import annotations

import os
import signal
import sys

from flux_cli.common import Parser, die

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux_cli.top_screen import Screen

_REFRESH = 1.0  # seconds


def command(argv: list[str]) -> int:
    parser = Parser("top", "Show what an instance of Flux does, and its running jobs, until q is pressed.")
    parser.add_argument("target", nargs="?", metavar="TARGET", help="instance: a URI, or what flux-uri(1) makes one of")
    parser.add_argument("-q", "--queue", metavar="NAME", help="only jobs and resources of this queue")
    parser.add_optional_value(
        "--color", const="always", default="auto", choices=("never", "always", "auto"), help="when"
    )
    args = parser.parse_intermixed_args(argv)
    for name in ("stdin", "stdout"):
        if not getattr(sys, name).isatty():
            die(f"{name} is not a terminal")
    uri = None
    if args.target is not None:
        from flux_cli.uri import resolve

        uri = resolve(args.target).nearest
    if args.queue is not None:
        _check_queue(uri, args.queue)
    from flux_cli.top_screen import Screen

    coloured = args.color == "always" or (args.color == "auto" and not os.environ.get("NO_COLOR"))
    with Screen(coloured) as screen:
        _show(screen, uri, args.queue, [])
    return 0


def _check_queue(uri: str | None, queue: str) -> None:
    from flux.queue import QueueList
    from flux_cli.common import open_flux

    with open_flux(uri) as handle:
        try:
            QueueList(handle, [queue])
        except ValueError as exc:
            die(str(exc))


def _show(screen: Screen, uri: str | None, queue: str | None, path: list[str]) -> None:
    """Show one instance until q is pressed.

    Args:
        uri: None for the enclosing one. path: ids of the jobs that lead to it from the first one.
    """
    from flux_cli.common import open_flux
    from flux_cli.top_view import View

    with open_flux(uri) as handle:
        view = View(handle, queue, path)

        def pressed(*_: object) -> None:
            for key in screen.pressed():
                job = view.press(key)
                if key == "q":
                    handle.get_reactor().stop()
                    return
                if job is not None:
                    _descend(screen, str(job.uri.nearest), [*path, job.id.f58])
                    view.update()
            screen.draw(view)

        def tick(*_: object) -> None:
            view.update()
            screen.draw(view)

        def pulse(*_: object) -> None:
            view.beats += 1
            screen.draw(view)

        def stopped(*_: object) -> None:
            screen.suspend()
            screen.draw(view)

        watchers = [
            handle.fd_watcher_create(sys.stdin.fileno(), pressed),
            handle.signal_watcher_create(signal.SIGTSTP, stopped),
            handle.timer_watcher_create(0.0, tick, _REFRESH),
            handle.msg_watcher_create(pulse, topic_glob="heartbeat.pulse"),
        ]
        handle.event_subscribe("heartbeat.pulse")
        for watcher in watchers:
            watcher.start()
        try:
            handle.reactor_run()
        finally:
            for watcher in watchers:
                watcher.stop()


def _descend(screen: Screen, uri: str, path: list[str]) -> None:
    try:
        _show(screen, uri, None, path)
    except OSError:  # not this user's, or gone meanwhile: it stays as it was
        pass
