"""Queues as rows of a table, for `flux queue list` (flux-queue(1), OUTPUT FORMAT)."""

from __future__ import annotations

import argparse

from flux.queue import QueueInfo, QueueList
from flux_cli.common import die, open_flux
from flux_cli.tables import Format, Mark, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_STATE = (
    "?:{queuem:<8.8} ?:{parent:<8.8} {color_enabled}{enabled:>2}{color_off} {color_started}{started:>2}{color_off} "
)
_TIMES = "{defaults.timelimit!F:>8} {limits.timelimit!F:>8} "
FORMATS = {
    "default": Format(
        "Default flux-queue list format string",
        _STATE
        + _TIMES
        + "{limits.range.effective.nnodes:>10} {limits.range.effective.ncores:>10} {limits.range.effective.ngpus:>10}",
    ),
    "policy": Format(
        "flux-queue list with policy limits only",
        _STATE + _TIMES + "{limits.range.nnodes:>10} {limits.range.ncores:>10} {limits.range.ngpus:>10}",
    ),
    "nodes": Format(
        "Show queue status plus all/up/allocated/free nodes",
        _STATE
        + "{resources.all.nnodes:>6} {resources.up.nnodes:>10} {resources.down.nnodes:>10} "
        + "{resources.allocated.nnodes:>11} {resources.free.nnodes:>10}",
    ),
}
_COUNTED = ("nnodes", "ncores", "ngpus")
_STATES = ("all", "free", "allocated", "up", "down")
_GREEN, _RED, _YELLOW, _OFF = "\033[01;32m", "\033[01;31m", "\033[01;33m", "\033[0;0m"
HEADINGS = {
    "queue": "QUEUE",
    "queuem": "QUEUE",
    "parent": "PARENT",
    "submission": "SUBMIT",
    "scheduling": "SCHED",
    "enabled": "EN",
    "started": "ST",
    "enabled.ascii": "EN",
    "started.ascii": "ST",
    "color_enabled": "",
    "color_started": "",
    "color_off": "",
    "defaults.timelimit": "TDEFAULT",
    "limits.timelimit": "TLIMIT",
    **{f"limits.range.{what}": what.upper() for what in _COUNTED},
    **{f"limits.range.effective.{what}": what.upper() for what in _COUNTED},
    **{f"limits.{bound}.{what}": f"{bound}{what[1:]}".upper() for bound in ("min", "max") for what in _COUNTED},
    **{
        f"resources.{state}.{what}": what[1:].upper() + ("" if state == "all" else f":{state[:5].upper()}")
        for state in _STATES
        for what in _COUNTED
    },
}


class Range:
    """Smallest and greatest size of a job, as text; `effective`: no greater than the queue is."""

    def __init__(self, queue: QueueInfo, effective: bool = False) -> None:
        limits, everything = queue.limits, queue.resources.all
        for what in _COUNTED:
            most = getattr(limits.max, what)
            most = min(most, getattr(everything, what)) if effective else most
            setattr(self, what, f"{getattr(limits.min, what)}-{most}")
        if not effective:
            self.effective = Range(queue, effective=True)


class Limits:
    """The limits of a queue as a format names them."""

    def __init__(self, queue: QueueInfo) -> None:
        self.min, self.max, self.timelimit = queue.limits.min, queue.limits.max, queue.limits.duration
        self.range = Range(queue)


class Row:
    """A queue as a format names its parts."""

    def __init__(self, queue: QueueInfo) -> None:
        paused = queue.blocked == "parent"
        self.queue = queue.name
        self.queuem = f"{queue.name}*" if queue.name and queue.is_default else queue.name
        self.parent = queue.parent
        self.submission = "enabled" if queue.enabled else "disabled"
        self.scheduling = "started" if queue.started else "stopped (parent)" if paused else "stopped"
        self.enabled = _mark(queue.enabled)
        self.started = Mark("⏸", "p") if paused and not queue.started else _mark(queue.started)
        self.color_enabled = _GREEN if queue.enabled else _RED
        self.color_started = _GREEN if queue.started else _YELLOW if paused else _RED
        self.color_off = _OFF
        self.defaults = queue.defaults
        self.limits = Limits(queue)
        self.resources = queue.resources


def _mark(yes: bool) -> Mark:
    return Mark("✔", "y") if yes else Mark("✗", "n")


def list_queues(args: argparse.Namespace) -> int:
    """Print the queues that --queue names, by --format."""
    wanted = list(dict.fromkeys(name for part in args.queue for name in part.split(",") if name))

    def rows() -> list[Any]:
        try:
            with open_flux() as handle:
                return [Row(queue) for queue in QueueList(handle, wanted)]
        except ValueError as exc:
            die(str(exc))

    text = args.format or "default"
    return show("flux-queue", rows, text, FORMATS, HEADINGS, header=not args.no_header, subcommand="list")
