"""`flux job id|info|list-ids` (flux-job(1))."""

from __future__ import annotations

import argparse
import sys

from flux.job.fluid import ENCODINGS
from flux_cli.common import Parser, die, open_flux
from flux_cli.job_ids import no_such_job, parse_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.core.handle import Flux
    from flux.job.JobID import JobID

_CURRENT = 2
_UPDATED = ("R", "jobspec")


def id__arguments(parser: Parser) -> None:
    parser.add_argument("ids", nargs="*", metavar="JOBID", help="default: words of standard input")
    parser.add_argument("-t", "--to", default="dec", metavar="ENCODING", help=", ".join(ENCODINGS))


def id_(args: argparse.Namespace) -> int:
    words = args.ids or sys.stdin.read().split()
    if not words:
        die("no job id was given, as an argument or on standard input")
    for word in words:
        try:
            print(parse_id(word).encode(args.to))
        except (argparse.ArgumentTypeError, ValueError) as exc:
            die(str(exc))
    return 0


def info_arguments(parser: Parser) -> None:
    parser.add_argument("id", type=parse_id, metavar="JOBID")
    parser.add_argument("key", metavar="KEY", help="R, J, jobspec, eventlog, guest.exec.eventlog, ...")
    parser.add_argument("-o", "--original", action="store_true", help="jobspec: as it was submitted")
    parser.add_argument("-b", "--base", action="store_true", help="R, jobspec: without later updates")


def info(args: argparse.Namespace) -> int:
    key = "J" if args.original and args.key == "jobspec" else args.key
    flags = _CURRENT if key in _UPDATED and not args.base else 0
    with open_flux() as handle:
        answer = lookup(handle, args.id, key, flags)
    text = _unwrapped(answer[key]) if key == "J" and args.original else answer[key]
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
    return 0


def lookup(handle: Flux, jobid: JobID, key: str, flags: int = 0) -> dict[str, str]:
    """Ask job-info for a key of a job."""
    try:
        answer: dict[str, str] = handle.rpc("job-info.lookup", {"id": jobid, "keys": [key], "flags": flags}).get()
    except OSError as exc:
        raise no_such_job(exc, jobid) from None
    return answer


def _unwrapped(signed: str) -> str:
    from base64 import b64decode

    return b64decode(signed.split(".")[1]).decode()
