"""Jobs for shells to run: real shells and a real KVS, with one module in place of the job services."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import flux
from flux import kvs
from flux.constants import FLUX_KVS_READDIR, FLUX_KVS_WAITCREATE
from flux.eventlog import Event, decode
from flux.idset import IDset
from flux.kvs.requests import lookup_async, namespace_create_async
from flux.stdio import decode_io
from flux.testing import Instance

COMPOSITION = Path(__file__).with_name("shell.toml")


def jobspec(command: list[str], ntasks: int = 1, **attributes: Any) -> dict[str, Any]:
    """A version 1 jobspec of one-core slots. attributes: of attributes.system, e.g. shell={"options": {...}}."""
    slot = {"type": "slot", "count": ntasks, "label": "task", "with": [{"type": "core", "count": 1}]}
    return {
        "version": 1,
        "resources": [slot],
        "tasks": [{"command": command, "slot": "task", "count": {"per_slot": 1}}],
        "attributes": {"system": {"duration": 0, **attributes}},
    }


def resources(cores: list[int]) -> dict[str, Any]:
    """R with that many cores on rank 0, 1, ..."""
    lite = [{"rank": str(rank), "children": {"core": f"0-{n - 1}"}} for rank, n in enumerate(cores)]
    nodes = [f"node{rank}" for rank in range(len(cores))]
    execution = {"R_lite": lite, "nodelist": nodes, "starttime": 0, "expiration": 0}
    return {"version": 1, "execution": execution}


class RunningJob:
    """A job whose shells run."""

    def __init__(self, handle: Any, jobid: int, shells: list[Any]) -> None:
        self.handle = handle
        self.id = jobid
        self.namespace = f"job-{jobid}"
        self.shells = shells
        self.pids: list[int] = []
        self.stderr = ""
        for shell in shells:
            self.pids.append(shell.get()["pid"])
            shell.reset()

    def wait(self) -> list[int]:
        """Exit code of each shell."""
        return [os.waitstatus_to_exitcode(self._status(shell)) for shell in self.shells]

    def _status(self, shell: Any) -> int:
        status = -1
        for response in shell:
            if response["type"] == "finished":
                status = response["status"]
            elif response["type"] == "output":
                self.stderr += decode_io(response["io"]).data.decode()
        return status

    def eventlog(self, key: str) -> list[Event]:
        return decode(lookup_async(self.handle, key, namespace=self.namespace).value())

    def names(self, key: str = "exec.eventlog") -> list[str]:
        return [event.name for event in self.eventlog(key)]

    def output(self, stream: str = "stdout") -> dict[str, str]:
        """Task rank to what it wrote."""
        found: dict[str, str] = {}
        for event in self.eventlog("output"):
            if event.name == "data" and event.context["stream"] == stream:
                chunk = decode_io(event.context)
                found[chunk.rank] = found.get(chunk.rank, "") + chunk.data.decode()
        return found

    def has_output(self) -> bool:
        """True once a task has written something."""
        return "output" in self._keys() and bool(self.output())

    def _keys(self) -> list[str]:
        return list(lookup_async(self.handle, ".", FLUX_KVS_READDIR, self.namespace).entries())

    def eofs(self) -> int:
        return sum(event.context.get("eof", False) for event in self.eventlog("output") if event.name == "data")

    def kill(self, signum: int) -> None:
        self.handle.event_publish(f"shell-{self.id}.kill", {"signum": signum}, private=True)

    def wait_event(self, name: str) -> dict[str, Any]:
        """Context of an event of exec.eventlog, once it is there."""
        watch = kvs.watch_async(self.handle, "exec.eventlog", FLUX_KVS_WAITCREATE, self.namespace)
        for value in watch.values():
            for event in decode(value):
                if event.name == name:
                    watch.cancel()
                    return event.context
        raise AssertionError(f"no event {name}")


class Jobs:
    """Runs jobs in one instance."""

    _ids = itertools.count(1001)

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.handle: flux.Flux = instance.handle()

    def start(
        self,
        command: list[str],
        cores: list[int] | None = None,
        options: dict[str, Any] | None = None,
        **attributes: Any,
    ) -> RunningJob:
        """Start a job with a task for each core. options: of the shell."""
        cores = cores or [1]
        jobid = next(self._ids)
        namespace_create_async(self.handle, f"job-{jobid}").get()
        if options:
            attributes["shell"] = {"options": options}
        spec = jobspec(command, sum(cores), **attributes)
        job = {"id": jobid, "jobspec": spec, "R": resources(cores), "nshells": len(cores)}
        self.handle.rpc("jobservices.put", job, nodeid=0).get()
        return RunningJob(self.handle, jobid, [self._shell(jobid, rank) for rank in IDset(f"0-{len(cores) - 1}")])

    def _shell(self, jobid: int, rank: int) -> Any:
        env = {"FLUX_KVS_NAMESPACE": f"job-{jobid}", "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        cmd = {"cmdline": ["flux-shell", str(jobid)], "env": env, "opts": {}, "channels": [], "cwd": "/tmp"}
        return self.handle.rpc(
            "rexec.exec", {"cmd": cmd, "flags": 3}, nodeid=rank, flags=flux.constants.FLUX_RPC_STREAMING
        )

    def run(self, command: list[str], cores: list[int] | None = None, **kwargs: Any) -> tuple[RunningJob, list[int]]:
        """Run a job to its end: the job and its shells' exit codes."""
        job = self.start(command, cores, **kwargs)
        return job, job.wait()

    def exceptions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.handle.rpc("jobservices.exceptions", nodeid=0).get()["exceptions"]
        return found


__all__ = ["Jobs", "RunningJob", "jobspec", "resources"]
