"""The command `flux-shell [OPTIONS] JOBID` (flux-shell(1))."""

from __future__ import annotations

import math
import os
import sys
from typing import Any, NamedTuple

import msgspec

from flux.core.handle import Flux
from flux.discovery import PluginError
from flux.errors import FluxError
from flux.future import Future
from flux.hooks.host import PluginHost
from flux.job import fluid
from flux.rpc import RPC
from flux_shell import stack
from flux_shell.core import Options
from flux_shell.job import Job, JobError, unwrap
from flux_shell.shell import Shell

__all__ = ["main", "preload"]


class _Args(NamedTuple):
    jobid: int
    options: Options
    jobspec: str
    resources: str


class _Request(NamedTuple):
    """What a shell asks for at start, all at once.

    Attributes:
        lookup: of its job; None when it was told. enclosing: a path, or the request for it. ready: its service is
            registered, and its events are subscribed to.
    """

    lookup: RPC | None
    enclosing: RPC | str
    ready: Future


def preload() -> PluginHost:
    """Import what a shell needs and build its plugin stack, for shells forked from this process."""
    return stack.build()


def main(argv: list[str] | None = None, plugins: PluginHost | None = None, brief: dict[str, Any] | None = None) -> int:
    """Run a shell and give its exit code.

    Args:
        argv: arguments without the program's name.
        plugins: the plugin stack when it was built before.
        brief: {J, R} of its job, as `job-info.lookup` gives them, from who launches it; {} or None when it has to ask.
    """
    args = _parse(sys.argv[1:] if argv is None else argv)
    try:
        return _run(args, plugins or stack.build(), brief or {})
    except (JobError, FluxError, PluginError, OSError) as exc:
        sys.stderr.write(f"flux-shell: FATAL: {exc}\n")
        return 1


def _run(args: _Args, plugins: PluginHost, brief: dict[str, Any]) -> int:
    if args.options.standalone:
        job = Job(args.jobid, _load(args.jobspec, "--jobspec"), _load(args.resources, "--resources"))
        return Shell(job, plugins, None, args.options).run()
    with Flux(reconnect=math.inf if args.options.reconnect else 0) as flux:
        request = _ask(flux, args.jobid, brief)
        try:
            job = _job(args, brief if request.lookup is None else request.lookup.get())
            rank = flux.get_rank() if len(job.nodes) > 1 else job.nodes[0].rank
            shell = Shell(job, plugins, flux, args.options, rank, _path(request.enclosing))
        except JobError as exc:
            _raise_on_job(flux, args.jobid, str(exc))
            raise
        request.ready.get()
        return shell.run()


def _raise_on_job(flux: Flux, jobid: int, note: str) -> None:
    exception = {"id": jobid, "type": "exec", "severity": 0, "note": note, "wait_status": 1 << 8}
    try:
        flux.rpc("job-manager.raise", exception).get()
    except FluxError as exc:  # as for a job that this instance does not know
        sys.stderr.write(f"flux-shell: ERROR: raising a job exception: {exc}\n")


def _ask(flux: Flux, jobid: int, brief: dict[str, Any]) -> _Request:
    lookup = None if brief else flux.rpc("job-info.lookup", {"id": jobid, "keys": ["J", "R"], "flags": 1})
    told = _told_path(jobid)
    enclosing = flux.rpc("attr.get", {"name": "jobid-path"}) if told is None else told
    service = f"{os.getuid()}-shell-{fluid.encode(jobid, 'f58plain')}"
    flux.notify("event.subscribe", {"topic": f"shell-{jobid}."})
    return _Request(lookup, enclosing, flux.service_register(service))


def _told_path(jobid: int) -> str | None:
    """Path of the enclosing instance's job ids, when the environment has that of this job already."""
    enclosing, _, last = os.environ.get("FLUX_JOB_ID_PATH", "").rpartition("/")
    return enclosing if last == fluid.encode(jobid, "f58") else None


def _path(enclosing: RPC | str) -> str:
    """The path that was asked for; "" in an instance that is no job."""
    if isinstance(enclosing, str):
        return enclosing
    try:
        return str(enclosing.get()["value"])
    except FileNotFoundError:
        return ""


def _job(args: _Args, found: dict[str, Any]) -> Job:
    jobspec = _load(args.jobspec, "--jobspec") if args.jobspec else unwrap(found["J"])
    r = _load(args.resources, "--resources") if args.resources else found["R"]
    return Job(args.jobid, jobspec, r if isinstance(r, dict) else msgspec.json.decode(r))


def _load(path: str, option: str) -> dict[str, Any]:
    if not path:
        raise JobError(f"standalone mode needs {option}=FILE")
    with open(path, "rb") as file:
        try:
            return msgspec.json.decode(file.read(), type=dict[str, Any])
        except msgspec.DecodeError as exc:
            raise JobError(f"{path}: {exc}") from None


def _parse(argv: list[str]) -> _Args:
    if len(argv) == 1 and argv[0].isdigit():
        return _Args(int(argv[0]), Options(), "", "")
    import argparse

    parser = argparse.ArgumentParser(prog="flux-shell", description="Start and tend the tasks of a job on one node.")
    parser.add_argument("-s", "--standalone", action="store_true", help="run without a Flux instance, for tests")
    parser.add_argument("-j", "--jobspec", metavar="FILE", default="", help="take jobspec from FILE")
    parser.add_argument("-R", "--resources", metavar="FILE", default="", help="take the resource set R from FILE")
    parser.add_argument("--initrc", metavar="FILE", default="", help="run the Lua initrc FILE")
    parser.add_argument("--reconnect", action="store_true", help="outlive a loss of the broker's connection")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="log what is done")
    parser.add_argument("jobid", metavar="JOBID")
    args = parser.parse_args(argv)
    try:
        jobid = fluid.decode(args.jobid)
    except ValueError as exc:
        parser.error(str(exc))
    return _Args(
        jobid, Options(args.standalone, args.initrc, args.verbose, args.reconnect), args.jobspec, args.resources
    )


if __name__ == "__main__":
    sys.exit(main())
