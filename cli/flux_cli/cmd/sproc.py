"""`flux sproc`: the processes of subprocess servers (flux-sproc(1); RFC 42)."""

from __future__ import annotations

import argparse
import os
import signal
import sys

from flux_cli.common import Action, Parser, die, dispatch, open_flux, parse_rank, print_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from flux.core.handle import Flux

_FORMAT = "{pid:>9} {state:<2} {label:<12} {cmd}"
_TITLES = {"pid": "PID", "state": "ST", "label": "LABEL", "cmd": "COMMAND", "rank": "RANK"}


def command(argv: list[str]) -> int:
    return dispatch("sproc", "List, signal and wait for processes that brokers run.", ACTIONS, argv)


def _server_arguments(parser: Parser) -> None:
    parser.add_argument(
        "-r", "--rank", type=parse_rank, default=None, metavar="RANK", help="of this broker; default: ours"
    )
    parser.add_argument("-s", "--service", default="rexec", metavar="NAME", help="subprocess server; default: rexec")


def _call(handle: Flux, args: argparse.Namespace, method: str, payload: Any = None) -> Any:
    from flux.message import NODEID_ANY
    from flux.rexec_signing import signer_for

    nodeid = NODEID_ANY if args.rank is None else args.rank
    topic, sign = f"{args.service}.{method}", signer_for(handle, args.service)
    return handle.rpc(topic, payload or {} if sign is None else sign(topic, payload or {}), nodeid=nodeid).get()


def _named(text: str) -> dict[str, Any]:
    """The keys of a request that say which process is meant: a pid, or a label."""
    return {"pid": int(text)} if text.isdecimal() else {"pid": -1, "label": text}


# -- ps


def _ps_arguments(parser: Parser) -> None:
    _server_arguments(parser)
    parser.add_argument("-o", "--format", default=_FORMAT, metavar="FORMAT", help="a Python format string")
    parser.add_argument("-n", "--no-header", action="store_true", help="leave out the line of headings")
    parser.add_argument("--json", action="store_true", help="print what the server answers")


def _ps(args: argparse.Namespace) -> int:
    with open_flux() as handle:
        answer = _call(handle, args, "list")
    if args.json:
        print_json(answer)
        return 0
    rows = [{**proc, "label": proc["label"] or "-", "rank": answer["rank"]} for proc in answer["procs"]]
    for line in _lines(args.format, rows, not args.no_header):
        print(line.rstrip())
    return 0


def _lines(text: str, rows: list[dict[str, Any]], header: bool) -> Iterable[str]:
    try:
        if header:
            yield text.format(**_TITLES)
        for row in rows:
            yield text.format(**row)
    except KeyError as exc:
        die(f"--format: there is no field {exc.args[0]}: there are {', '.join(_TITLES)}")
    except (ValueError, IndexError) as exc:
        die(f"--format: {exc}")


# -- kill, wait, attach


def _kill_arguments(parser: Parser) -> None:
    _server_arguments(parser)
    parser.add_argument("signum", type=_signal, metavar="SIGNAL", help="number or name")
    parser.add_argument("process", metavar="PID", help="or the process's label")
    parser.add_argument("-w", "--wait", action="store_true", help="wait for its end")


def _signal(text: str) -> int:
    name = text.upper()
    name = name if name.startswith("SIG") else f"SIG{name}"
    if name in signal.Signals.__members__:
        return signal.Signals[name].value
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is no signal: 15, TERM or SIGTERM is")
    return int(text)


def _kill(args: argparse.Namespace) -> int:
    with open_flux() as handle:
        _call(handle, args, "kill", {**_named(args.process), "signum": args.signum})
        return _exitcode(_call(handle, args, "wait", _named(args.process))) if args.wait else 0


def _wait_arguments(parser: Parser) -> None:
    _server_arguments(parser)
    parser.add_argument("process", metavar="PID", help="or the process's label")
    parser.add_argument("-o", "--output", action="store_true", help="print the output that was kept of it")


def _wait(args: argparse.Namespace) -> int:
    from flux.stdio import decode_io

    with open_flux() as handle:
        answer = _call(handle, args, "wait", _named(args.process))
    for io in answer.get("output", ()) if args.output else ():
        chunk = decode_io(io)
        out = sys.stderr if chunk.stream == "stderr" else sys.stdout
        out.buffer.write(chunk.data)
        out.flush()
    return _exitcode(answer)


def _exitcode(answer: dict[str, int]) -> int:
    code = os.waitstatus_to_exitcode(answer["status"])
    return code if code >= 0 else 128 - code


def _attach_arguments(parser: Parser) -> None:
    _server_arguments(parser)
    parser.add_argument("process", metavar="PID", help="or the process's label")


def _attach(args: argparse.Namespace) -> int:
    from flux_cli.cmd import exec as flux_exec

    with open_flux() as handle:
        rank = handle.get_rank() if args.rank is None else args.rank
    return flux_exec.command(["--attach", f"--rank={rank}", f"--service={args.service}", args.process])


ACTIONS = {
    "ps": Action(_ps, "list processes", _ps_arguments),
    "kill": Action(_kill, "signal a process", _kill_arguments),
    "wait": Action(_wait, "wait for a background process, and exit as it did", _wait_arguments),
    "attach": Action(_attach, "show the output of a background process until its end", _attach_arguments),
}
