"""`flux job taskmap|hostpids`: where the tasks of a job are (flux-job(1), RFC 34)."""

from __future__ import annotations

import argparse
import errno

from flux_cli.common import Parser, die, open_flux, parse_duration
from flux_cli.job_ids import no_such_job, parse_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from flux.core.handle import Flux
    from flux.job.JobID import JobID
    from flux.taskmap import TaskMap

_FORMATS = ("raw", "pmi", "multiline", "hosts")


# -- taskmap


def taskmap_arguments(parser: Parser) -> None:
    parser.add_argument("map", metavar="JOBID|TASKMAP", help="a job, or a task map in any form")
    question = parser.add_mutually_exclusive_group()
    question.add_argument("--taskids", type=int, metavar="NODEID", help="print the tasks of a node as an idset")
    question.add_argument("--ntasks", type=int, metavar="NODEID", help="print the number of tasks of a node")
    question.add_argument("--nodeid", type=int, metavar="TASKID", help="print the node of a task")
    question.add_argument("--hostname", type=int, metavar="TASKID", help="print the host of a task")
    question.add_argument("--to", metavar="FORMAT", help=f"print it as {', '.join(_FORMATS)} (default: as RFC 34 JSON)")


def taskmap(args: argparse.Namespace) -> int:
    if args.to is not None and args.to not in _FORMATS:
        die(f"invalid value --to={args.to}: expected {', '.join(_FORMATS)}")
    jobid = _job_id(args.map)
    hosts_wanted = args.hostname is not None or args.to == "hosts"
    if jobid is None:
        if hosts_wanted:
            die("the hosts of tasks are known for a job id only")
        lines = _answer(args, _decode(args.map), [])
    else:
        with open_flux() as handle:
            lines = _answer(args, _map_of(handle, jobid), _hosts(handle, jobid) if hosts_wanted else [])
    print("\n".join(lines))
    return 0


def _job_id(text: str) -> JobID | None:
    try:
        return parse_id(text)
    except argparse.ArgumentTypeError:
        return None


def _decode(text: str) -> TaskMap:
    from flux.taskmap import decode

    try:
        return decode(text)
    except ValueError as exc:
        die(f"'{text}' is neither a job id nor a task map: {exc}")


def _map_of(handle: Flux, jobid: JobID) -> TaskMap:
    from flux.taskmap import decode

    return decode(_started(handle, jobid, "shell.start").context["taskmap"])


def _started(handle: Flux, jobid: JobID, event: str, timeout: float = -1.0) -> Any:
    """The event of that name from a job's exec eventlog, waited for; so many seconds at most."""
    from flux.constants import FLUX_JOB_EVENT_WATCH_WAITCREATE
    from flux.job.event import event_watch_async

    watch = event_watch_async(handle, jobid, "guest.exec.eventlog", FLUX_JOB_EVENT_WATCH_WAITCREATE)
    try:
        while True:
            watch.wait_for(timeout)
            entry = watch.get_event()
            if entry is None:
                die(f"{jobid.orig}: the job ended without event {event}")
            if entry.name == event:
                return entry
    except OSError as exc:
        if exc.errno == errno.ETIMEDOUT:
            die(f"{jobid.orig}: timeout waiting for event {event}")
        raise no_such_job(exc, jobid) from None


def _hosts(handle: Flux, jobid: JobID) -> list[str]:
    from json import loads

    from flux.hostlist import Hostlist
    from flux_cli.cmd.job_info import lookup

    return list(Hostlist(loads(lookup(handle, jobid, "R")["R"])["execution"]["nodelist"]))


def _answer(args: argparse.Namespace, found: TaskMap, hosts: list[str]) -> list[str]:
    if args.taskids is not None or args.ntasks is not None:
        ids = found.taskids(args.taskids if args.taskids is not None else args.ntasks)
        if not ids:
            die(f"no tasks on node {args.taskids if args.taskids is not None else args.ntasks}")
        return [str(ids if args.taskids is not None else len(ids))]
    if args.nodeid is not None:
        return [str(_node_of(found, args.nodeid))]
    if args.hostname is not None:
        return [hosts[_node_of(found, args.hostname)]]
    return list(_converted(found, args.to, hosts))


def _node_of(found: TaskMap, task: int) -> int:
    try:
        return found.nodeid(task)
    except ValueError as exc:
        die(str(exc))


def _converted(found: TaskMap, form: str | None, hosts: list[str]) -> Iterator[str]:
    if form == "multiline":
        for task in range(found.ntasks()):
            yield f"{task}: {found.nodeid(task)}"
    elif form == "hosts":
        for node in range(found.nnodes()):
            yield f"{hosts[node]}: {found.taskids(node)}"
    else:
        yield {"raw": found.raw, "pmi": found.pmi, None: found.encode}[form]()


# -- hostpids


def hostpids_arguments(parser: Parser) -> None:
    parser.add_argument("id", type=parse_id, metavar="JOBID")
    parser.add_argument("-d", "--delimiter", default=",", metavar="STRING", help="between the pairs (,)")
    parser.add_argument("-r", "--ranks", metavar="IDSET", help="of these tasks only")
    parser.add_argument("-t", "--timeout", type=parse_duration, default=-1.0, metavar="FSD", help="longest wait")


def hostpids(args: argparse.Namespace) -> int:
    wanted = None if args.ranks is None or args.ranks == "all" else _ranks(args.ranks)
    with open_flux() as handle:
        _refuse_inactive(handle, args.id)
        shell = _started(handle, args.id, "shell.init", args.timeout).context
        _started(handle, args.id, "shell.start", args.timeout)
        table = handle.rpc(f"{shell['service']}.proctable", {}, nodeid=shell["leader-rank"]).get()
    print(args.delimiter.join(_pairs(table, wanted)))
    return 0


def _refuse_inactive(handle: Flux, jobid: JobID) -> None:
    from flux.constants import FLUX_JOB_STATE_INACTIVE

    try:
        job = handle.rpc("job-list.list-id", {"id": int(jobid), "attrs": ["state"]}).get()["job"]
    except OSError as exc:
        raise no_such_job(exc, jobid) from None
    if job["state"] == FLUX_JOB_STATE_INACTIVE:
        die(f"hostpids: job {jobid.orig} is inactive")


def _ranks(text: str) -> Any:
    from flux.idset import IDset

    try:
        return IDset(text)
    except ValueError as exc:
        die(f"--ranks: {exc}")


def _pairs(table: dict[str, Any], wanted: Any) -> Iterator[str]:
    from flux.proctable import decode

    for process in decode(table):
        if wanted is None or process.taskid in wanted:
            yield f"{process.host}:{process.pid}"
