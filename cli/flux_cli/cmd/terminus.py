"""`flux terminus`: programs on terminals that outlive whoever looks at them (flux-terminus(1))."""

from __future__ import annotations

import errno
import os
import sys

from flux_cli.common import Action, Parser, die, dispatch, open_flux, parse_rank

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from flux.core.handle import Flux

_CHUNK = 4096
_SIGKILL = 9


def command(argv: list[str]) -> int:
    return dispatch("terminus", "Run programs on terminals that can be left and joined again.", ACTIONS, argv)


class _Place:
    """Where the server is that the options name. rank: of its broker."""

    def __init__(self, handle: Flux, args: argparse.Namespace) -> None:
        self.handle = handle
        self.service = args.service or f"{os.getuid()}-terminus"
        self.rank = int(handle.attr_get("rank")) if args.rank is None else args.rank

    def call(self, method: str, payload: dict[str, Any]) -> Any:
        return self.handle.rpc(f"{self.service}.{method}", payload, nodeid=self.rank).get()

    def ask(self, method: str, payload: dict[str, Any], what: str) -> Any:
        """The answer to a request. CommandError when there is none; what: the request in words."""
        try:
            return self.call(method, payload)
        except OSError as exc:
            if exc.errno == errno.ENOSYS:
                die(f"no server running at {self.service}")
            die(f"{what} failed: {exc}")


def _where_arguments(parser: Parser) -> None:
    parser.add_argument(
        "-r", "--rank", type=parse_rank, metavar="RANK", help="broker rank of the server (default: this one)"
    )
    parser.add_argument("-s", "--service", metavar="NAME", help="service of the server (default: USERID-terminus)")


def _session_arguments(parser: Parser) -> None:
    _where_arguments(parser)
    parser.add_argument("id", metavar="ID", type=int, help="of the session")


# -- start


def _start_arguments(parser: Parser) -> None:
    _where_arguments(parser)
    parser.add_argument("-d", "--detach", action="store_true", help="do not attach to the new session")
    parser.add_argument("-w", "--wait", action="store_true", help="keep it until a client has attached (always done)")
    parser.add_argument("-n", "--name", metavar="NAME", help="of the session (default: the program's)")
    parser.add_argument("command", metavar="COMMAND", nargs="...", help="program and arguments (default: your shell)")


def _start(args: argparse.Namespace) -> int:
    with open_flux() as handle:
        place = _Place(handle, args)
        environ = dict(os.environ)
        asked = {
            "name": args.name or "",
            "cmd": args.command,
            "environ": environ,
            "cwd": os.getcwd(),
            "wait": args.wait,
        }
        try:
            topic = _new(place, asked, args.rank is None)["pty_service"]
        except OSError as exc:
            die(f"new session: {exc}")
        return 0 if args.detach else _join(place, topic)


def _new(place: _Place, asked: dict[str, Any], may_start: bool) -> Any:
    try:
        return place.call("new", asked)
    except OSError as exc:
        if exc.errno != errno.ENOSYS:
            raise
    if not may_start:
        die("Unable to start a new server with --rank option")
    _start_server(place.service)
    return place.call("new", asked)


def _start_server(service: str) -> None:
    """Start a server that outlives this command, and wait until it serves, or has said why it cannot."""
    import subprocess

    words = [sys.executable, "-P", "-m", "flux_shell.terminus", service]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    process.stdout.read()  # to its end, which comes as soon as there is a service


# -- attach


def _attach_arguments(parser: Parser) -> None:
    _session_arguments(parser)
    parser.add_argument("-p", "--pipe", action="store_true", help="send stdin to the session and exit, show no output")


def _attach(args: argparse.Namespace) -> int:
    with open_flux() as handle:
        place = _Place(handle, args)
        topic = f"{place.service}.{args.id}"
        return _pipe(place, topic) if args.pipe else _join(place, topic)


def _join(place: _Place, topic: str) -> int:
    from flux_cli.terminal import TerminalClient

    ended: list[tuple[str, int | None]] = []
    client = TerminalClient(place.handle, topic, place.rank, lambda *end: ended.append(end))
    if sys.stdout.isatty():
        sys.stdout.write("\x1b[2J\x1b[;H")
        sys.stdout.flush()
    client.start()
    reactor = place.handle.get_reactor()
    try:
        while not ended:
            reactor.run_once()
    finally:
        client.close()
    message, status = ended[0]
    if status is None:
        die(f"Invalid session or server at {topic}" if message == "No such session" else f"{topic}: {message}")
    if sys.stdout.isatty():
        sys.stdout.write(f"\x1b[999H[detached: {message}]\x1b[K\n\r")
        sys.stdout.flush()
    return _exitcode(status)


def _exitcode(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _pipe(place: _Place, topic: str) -> int:
    """Send all of stdin; what the session shows is left to others."""
    from flux.constants import FLUX_RPC_STREAMING
    from flux_cli.terminal import encode

    handle, rank = place.handle, place.rank
    try:
        attached = handle.rpc(topic, {"type": "attach", "mode": "wo"}, nodeid=rank, flags=FLUX_RPC_STREAMING)
        attached.get()
        while data := os.read(0, _CHUNK):
            handle.rpc(topic, {"type": "data", **encode(data)}, nodeid=rank).get()
    except OSError as exc:
        die(f"Invalid session or server at {topic}" if exc.errno == errno.ENOSYS else f"{topic}: {exc}")
    return 0


# -- list and kill


def _list(args: argparse.Namespace) -> int:
    with open_flux() as handle:
        found = _Place(handle, args).ask("list", {}, "list sessions")
    server, sessions = found["server"], found["sessions"]
    print(f"server at {server['service']} running on rank {server['rank']} since {_date(server['ctime'])}")
    print(f"{len(sessions)} current session{'' if len(sessions) == 1 else 's'}:")
    for line in sessions:
        exited = " (exited)" if line["exited"] else ""
        print(f"{line['id']}: [{line['name']}]{exited} {line['clients']} clients (created {_date(line['ctime'])})")
    return 0


def _date(seconds: float) -> str:
    import time

    return time.ctime(seconds)


def _kill(args: argparse.Namespace) -> int:
    with open_flux() as handle:
        _Place(handle, args).ask("kill", {"id": args.id, "signal": _SIGKILL, "wait": 1}, "kill")
    return 0


def _kill_server(args: argparse.Namespace) -> int:
    with open_flux() as handle:
        _Place(handle, args).ask("kill-server", {}, "kill-server")
    return 0


ACTIONS = {
    "start": Action(_start, "start a session", _start_arguments),
    "attach": Action(_attach, "attach to a session", _attach_arguments),
    "list": Action(_list, "list sessions", _where_arguments),
    "kill": Action(_kill, "kill a session", _session_arguments),
    "kill-server": Action(_kill_server, "end the server and all of its sessions", _where_arguments),
}
