"""`flux exec`: run a command on brokers (flux-exec(1); RFC 42)."""

from __future__ import annotations

import argparse
import os

from flux_cli.common import Parser, die, open_flux
from flux_cli.job_ids import parse_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.core.handle import Flux
    from flux.idset import IDset
    from flux.rexec import Request
    from flux.ring import RingRoute

EX_NOHOST = 68


def command(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    _check(args)
    with open_flux() as handle:
        ranks = _job_targets(handle, args) if args.jobid is not None else targets(handle, args.rank, args.exclude)
        way = _way(handle, args)
        if args.bg:
            return _background(handle, way, args, ranks)
        from flux_cli.exec_run import ExecRun

        return ExecRun(handle, args, ranks, way).run()


def _way(handle: Flux, args: argparse.Namespace) -> Flux | RingRoute:
    """What sends the requests."""
    if not args.ring:
        return handle
    from flux_cli.ring import open_ring

    return open_ring(handle)


def _parser() -> Parser:
    parser = Parser(
        "exec", "Run a command on brokers of the instance.", usage="flux exec [OPTIONS] COMMAND [ARGUMENT...]"
    )
    add = parser.add_argument
    add("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    add("-r", "--rank", default="all", metavar="IDSET", help="on these ranks; default: all")
    add("-x", "--exclude", default="", metavar="IDSET", help="but not on these")
    add("-d", "--dir", metavar="DIR", help="working directory; default: this one")
    add("-l", "--label-io", "--labelio", action="store_true", help="begin lines of output with the rank")
    add("-n", "--noinput", action="store_true", help="do not read stdin")
    add("-j", "--jobid", type=parse_id, metavar="JOBID", help="on the nodes of a job, which ranks then count from 0")
    add("-v", "--verbose", action="count", default=0, help="say what is going on, on stderr")
    add("-q", "--quiet", action="store_true", help="do not tell of exit codes and signals")
    add("-s", "--service", default="rexec", metavar="NAME", help="subprocess server; default: rexec")
    add("--ring", action="store_true", help="go from rank to rank by the ring, past a broken tree")
    add("--with-imp", action="store_true", help=argparse.SUPPRESS)
    add("--bg", action="store_true", help="start in the background, print RANK: PID, and exit")
    add("--waitable", action="store_true", help="with --bg: keep the exit status until it is asked for")
    add("--label", metavar="LABEL", help="name the process for flux sproc")
    add("--attach", action="store_true", help="attach to the background process whose pid or label COMMAND is")
    return parser


def _check(args: argparse.Namespace) -> None:
    if args.command[:1] == ["--"]:
        del args.command[0]
    if not args.command:
        die("which command? `flux exec hostname` runs hostname on every broker")
    if args.with_imp:
        die("--with-imp needs flux-security's flux-imp, which this program does not use: leave it out")
    if args.attach and args.jobid is not None:
        die("--attach does not work with --jobid: a job's processes in the background belong to its shell")
    if args.waitable and not args.bg:
        die("--waitable can only be used with --bg")
    if args.attach and (args.bg or len(args.command) != 1):
        die("--attach takes one pid or label, and no --bg")


def _job_targets(handle: Flux, args: argparse.Namespace) -> IDset:
    """The ranks of a job's nodes; --rank and --exclude count these. The job's shells become the subprocess server."""
    from flux.idset import IDset
    from flux_cli.exec_job import job_ranks

    nodes, args.service = job_ranks(handle, args.jobid)
    chosen = _chosen(IDset(f"0-{len(nodes) - 1}"), args.rank, args.exclude, f"job {args.jobid.orig}")
    return IDset(nodes[index] for index in chosen)


def targets(handle: Flux, wanted: str, exclude: str = "") -> IDset:
    """The ranks that idsets name; "all" is every rank. CommandError when there is no such rank, or none is left."""
    from flux.idset import IDset

    return _chosen(IDset(f"0-{handle.get_size() - 1}"), wanted, exclude, "this instance")


def _chosen(everyone: IDset, wanted: str, exclude: str, where: str) -> IDset:
    ranks = everyone if wanted == "all" else _idset(wanted, "--rank")
    unknown = ranks - everyone
    if unknown:
        die(f"there is no rank {unknown}: {where} has {everyone}", EX_NOHOST)
    if exclude:
        ranks = ranks - _idset(exclude, "--exclude")
    if not ranks:
        die("no rank is left to run the command on")
    return ranks


def _idset(text: str, option: str) -> IDset:
    from flux.idset import IDset

    try:
        return IDset(text)
    except ValueError as exc:
        die(f"{option}: {exc}")


def _background(handle: Flux, way: Flux | RingRoute, args: argparse.Namespace, ranks: IDset) -> int:
    from flux.errors import FluxError
    from flux.rexec import WAITABLE, exec_request, start_background
    from flux.rexec_signing import signer_for
    from flux_cli.exec_run import complain

    flags = WAITABLE if args.waitable else 0
    request: Request = exec_request(args.command, cwd=args.dir or os.getcwd(), label=args.label, flags=flags)
    sign = signer_for(handle, args.service)
    if sign is not None:
        request = sign(f"{args.service}.exec", request)
    code = 0
    for rank, rpc in [(rank, start_background(way, request, rank, args.service)) for rank in ranks]:
        try:
            print(f"{rank}: {rpc.get()['pid']}")
        except FluxError as exc:
            code = max(code, complain(rank, args.command[0], exc))
    return code
