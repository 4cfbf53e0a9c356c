"""`flux pstree`: running jobs as a tree, with those of jobs that are instances of Flux (flux-pstree(1))."""

from __future__ import annotations

import os
import shutil
import sys

from flux.tree import Tree
from flux_cli.common import Parser, die, open_flux, warn
from flux_cli.job_ids import parse_id
from flux_cli.job_query import ALL_STATES, fetch, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

    from flux.core.handle import Flux
    from flux.job.info import JobInfo
    from flux.job.info_format import JobInfoFormat

DETAILS = {
    "default": "{id.f58:>12} {username:<8.8} {status_abbrev:>2.2} {ntasks:>6h} {nnodes:>6h} {runtime!F:>8h}",
    "resources": "{id.f58:>12} "
    + " ".join(
        f"{{instance.resources.{state}.{what}:>5}}"
        for what in ("nnodes", "ncores", "ngpus")
        for state in ("all", "allocated")
    ),
    "progress": "{id.f58:>12} {ntasks:>6h} {instance.stats.total:>6} {instance.progress!P:>5} "
    "{instance.utilization!P:>5} {instance.gpu_utilization!P:>5} {runtime!H:>10}",
    "stats": "{id.f58:>12} {instance.stats:^25} {runtime!H:>10}",
}
_WIDTH = 132  # columns, where there is no terminal
_ALL_LEVELS = 999
_RUN = 16


def command(argv: list[str]) -> int:
    args = _parser().parse_intermixed_args(argv)
    if args.ascii and args.compact:
        die("Choose only one of --ascii, --compact")
    if args.jobids and (args.all or args.filter or args.count != 1000):
        warn("pstree", "WARNING: filtering options ignored with jobid list")
    forest = _Forest(args)
    tree = forest.root()
    if forest.details is not None and not args.no_header:
        print(forest.details.header())
    width = shutil.get_terminal_size((_WIDTH, 25)).columns if args.truncate else sys.maxsize
    style = "compact" if args.compact else "ascii" if args.ascii else "box"
    for top in tree.children if forest.skip_root else [tree]:
        for line in top.lines(style):
            print(line if len(line) <= width else line[: width - 1] + "+")
    return 0


def _parser() -> Parser:
    parser = Parser("pstree", "Show running jobs as a tree, with those of jobs that are instances of Flux.")
    parser.add_argument("jobids", nargs="*", type=parse_id, metavar="JOBID", help="only these jobs")
    parser.add_argument("-a", "--all", action="store_true", help="jobs in all states")
    parser.add_argument("-c", "--count", type=int, default=1000, metavar="N", help="at most N jobs of an instance")
    parser.add_argument("-f", "--filter", action="append", metavar="STATE|RESULT", help="jobs in these states")
    parser.add_argument("-L", "--level", type=int, default=_ALL_LEVELS, metavar="N", help="go down at most N levels")
    parser.add_argument("-x", "--extended", action="store_true", help="print details before the tree")
    parser.add_argument("-d", "--details", choices=DETAILS, metavar="NAME", help=f"which: {', '.join(DETAILS)}")
    parser.add_argument("--detail-format", metavar="FORMAT", help="details by a format of flux-jobs(1)")
    parser.add_argument("-n", "--no-header", action="store_true", help="no line of headings over details")
    parser.add_argument("-o", "--label", metavar="FORMAT", help="format of labels, default {name}")
    parser.add_argument("--parent-label", metavar="FORMAT", help="format of labels of instances")
    parser.add_argument("-p", "--parent-ids", action="store_true", help="ids before the labels of instances")
    parser.add_argument("-l", "--long", action="store_false", dest="truncate", help="do not cut long lines")
    parser.add_argument("-X", "--no-combine", action="store_false", dest="combine", help="show like jobs one by one")
    parser.add_argument("-C", "--compact", action="store_true", help="narrow connectors")
    parser.add_argument("--ascii", action="store_true", help="connectors of ASCII characters")
    parser.add_optional_value("--skip-root", const="yes", choices=("yes", "no"), help="leave the instance itself out")
    return parser


class _Forest:
    """Makes the tree of jobs that the options ask for.

    Attributes:
        details: format of what stands before the tree. skip_root: the instance itself is not shown.
    """

    def __init__(self, args: Namespace) -> None:
        self._args = args
        self._label = _format(args.label or ("{name}:{status_abbrev}" if args.all else "{name}"))
        parent = args.parent_label or args.label or "{name}"
        self._parent = _format(f"{{id.f58}} {parent}" if args.parent_ids else parent)
        details = args.detail_format or (DETAILS[args.details or "default"] if args.extended or args.details else None)
        self.details = None if details is None else _format(details)
        formats = (self._label, self._parent, self.details)
        self._asks_instances = any(form is not None and form.needs_instances() for form in formats)
        self.skip_root = args.skip_root == "yes" if args.skip_root else bool(details or args.jobids)
        self._filters = ALL_STATES if args.all else words(args.filter) or ["running"]

    def root(self) -> Tree:
        """The tree of the enclosing instance."""
        with open_flux() as handle:
            tree = Tree("", "", self._args.combine) if self.skip_root else self._node(_root(handle), is_parent=True)
            self._grow(tree, handle, ["running"] if self.skip_root else self._filters, self._args.jobids, 0)
        return tree

    def _node(self, job: JobInfo, is_parent: bool) -> Tree:
        if self._asks_instances:
            job.get_instance_info()
        label = (self._parent if is_parent else self._label).format(job)
        prefix = "" if self.details is None else self.details.format(job)
        return Tree(label, prefix, self._args.combine)

    def _grow(self, tree: Tree, handle: Flux, filters: list[str], ids: list[str], level: int) -> None:
        from concurrent.futures import ThreadPoolExecutor

        query = {"filters": filters, "ids": ids, "user": os.getuid()}
        jobs, _ = fetch("pstree", handle, self._args.count, ["all"], **query)
        with ThreadPoolExecutor() as pool:
            for child in pool.map(lambda job: self._branch(job, level + 1), jobs):
                tree.append_tree(child)

    def _branch(self, job: JobInfo, level: int) -> Tree:
        is_parent = bool(job.uri) and job.state == "RUN"
        tree = self._node(job, is_parent)
        if is_parent and level <= self._args.level:
            try:
                with open_flux(job.uri.nearest) as handle:
                    self._grow(tree, handle, self._filters, [], level)
            except OSError:  # not this user's, or its services are not there yet: shown without its jobs
                pass
        return tree


def _format(text: str) -> JobInfoFormat:
    from flux.job.info_format import JobInfoFormat

    try:
        return JobInfoFormat(text)
    except ValueError as exc:
        die(f"Error in user format: {exc}")


# -- the enclosing instance as a job


class _NoId(int):
    """The id of an instance that is no job: a dot in every encoding."""

    def __getattr__(self, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return "."

    def __str__(self) -> str:
        return "."


def _root(handle: Flux) -> JobInfo:
    ranks = f"0-{int(handle.attr_get('size')) - 1}"
    job = _as_job(handle) or _as_instance(handle)
    job.ranks = ranks
    return job


def _as_job(handle: Flux) -> JobInfo | None:
    """What the parent instance knows of the job that the instance is."""
    from flux.job.list import job_list_id

    try:
        jobid = handle.attr_get("jobid")
        with open_flux(handle.attr_get("parent-uri")) as parent:
            return job_list_id(parent, jobid).get_jobinfo()
    except OSError:  # it has no parent, or that does not answer
        return None


def _as_instance(handle: Flux) -> JobInfo:
    from flux.job.info import JobInfo

    size = int(handle.attr_get("size"))
    known: dict[str, Any] = {
        "id": 0,
        "userid": int(handle.attr_get("security.owner")),
        "state": _RUN,
        "urgency": "",
        "name": ".",
        "ntasks": size,
        "nnodes": size,
        "nodelist": handle.attr_get("hostlist"),
        "t_submit": 0.0,
        "t_run": float(handle.attr_get("broker.starttime")),
        "annotations": {"user": {"uri": handle.attr_get("local-uri")}},
    }
    job = JobInfo(known)
    job.id = _NoId()
    return job
