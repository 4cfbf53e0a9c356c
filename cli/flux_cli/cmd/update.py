"""`flux update`: change the jobspec of an active job (flux-update(1))."""

from __future__ import annotations

import json
import math
import sys
import time

from flux.util import fsd, parse_fsd
from flux_cli.common import Parser, UsageError, die, open_flux
from flux_cli.job_ids import parse_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.core.handle import Flux
    from flux.job.JobID import JobID

ALIASES = {"name": "attributes.system.job.name"}
TOPS = ("attributes.", "resources.", "tasks.")
DURATION = "attributes.system.duration"
SYNTAX_ERROR = 2
CURRENT = 2
"""job-info.lookup flag: with all updates until now."""


def command(argv: list[str]) -> int:
    try:
        args = _parser().parse_intermixed_args(argv)
    except UsageError as exc:
        exc.code = SYNTAX_ERROR
        raise
    pairs = [_pair(word) for word in args.updates]
    updates = {key: value for key, value in pairs if key != DURATION}
    durations = [value for key, value in pairs if key == DURATION]
    if args.dry_run and not any(text.startswith(("+", "-")) for text in durations):
        print(json.dumps(_in_order(pairs, updates, [_seconds(text) for text in durations])))
        return 0
    started = time.time()
    with open_flux() as handle:
        seconds = [_new_duration(handle, args.jobid, text) for text in durations]
        updates = _in_order(pairs, updates, seconds)
        if args.dry_run:
            print(json.dumps(updates))
            return 0
        handle.rpc("job-manager.update", {"id": int(args.jobid), "updates": updates}).get()
        if args.wait:
            _wait(handle, args.jobid, updates, started)
    if args.verbose:
        for key, value in updates.items():
            print(f"flux-update: INFO: updated {key} to {value}", file=sys.stderr)
    return 0


def _parser() -> Parser:
    parser = Parser("update", "Change attributes of a pending or running job.")
    parser.add_argument("-n", "--dry-run", action="store_true", help="print the updates as JSON, send nothing")
    parser.add_argument("-v", "--verbose", action="store_true", help="say what was updated")
    parser.add_argument("--wait", action="store_true", help="wait until the updates are in the job's eventlog")
    parser.add_argument("jobid", type=parse_id, metavar="JOBID")
    parser.add_argument("updates", nargs="+", metavar="KEY=VALUE", help="such as duration=+1h")
    return parser


def _pair(word: str) -> tuple[str, Any]:
    """Key, as a path in the jobspec, and value; of a duration, its text."""
    key, _, text = word.partition("=")
    key = ALIASES.get(key, key)
    if not key.startswith(TOPS):
        key = f"attributes.system.{key}"
    if key == DURATION:
        return key, text
    try:
        return key, json.loads(text)
    except ValueError:
        return key, text


def _in_order(pairs: list[tuple[str, Any]], updates: dict[str, Any], seconds: list[float]) -> dict[str, Any]:
    durations = dict.fromkeys([DURATION], seconds[-1]) if seconds else {}
    return {key: (durations | updates)[key] for key, _ in pairs}


# -- durations


def _seconds(text: str) -> float:
    try:
        seconds = parse_fsd(text)
    except ValueError as exc:
        die(str(exc))
    return 0.0 if math.isinf(seconds) else seconds


def _new_duration(handle: Flux, jobid: JobID, text: str) -> float:
    if not text.startswith(("+", "-")):
        return _seconds(text)
    change = _seconds(text[1:])
    current = _current_duration(handle, jobid)
    if not current:
        die(f"duration for {jobid} is unlimited, can't update by {text}")
    if text.startswith("+"):
        return current + change
    if current <= change:
        die(f"current duration for {jobid} ({fsd(current)}) cannot be reduced by {text[1:]}")
    return current - change


def _current_duration(handle: Flux, jobid: JobID) -> float:
    request = {"id": int(jobid), "keys": ["jobspec"], "flags": CURRENT}
    try:
        jobspec = json.loads(handle.rpc("job-info.lookup", request).get()["jobspec"])
    except FileNotFoundError:
        die("unknown job id")
    system = jobspec.get("attributes", {}).get("system", {})
    return float(system.get("duration") or 0.0)


def _wait(handle: Flux, jobid: JobID, updates: dict[str, Any], started: float) -> None:
    from flux.job.event import event_watch

    for event in event_watch(handle, int(jobid)):
        if event.name == "jobspec-update" and event.timestamp > started and updates.items() <= event.context.items():
            return
