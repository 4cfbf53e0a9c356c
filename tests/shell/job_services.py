"""What a job shell asks of the services of an instance, without the services: one module plays them all."""

from __future__ import annotations

import base64
import json
from typing import Any

from flux.message import Message
from flux.module import DEFERRED, USER, Module, request
from flux_plugins.job_exec.barrier import Barrier


class JobServices(Module):
    """Holds jobs put by `jobservices.put`; records exceptions; lets shells of a job into a barrier together."""

    name = "jobservices"
    provides = ("job-info", "job-exec", "job-manager")
    ranks = "0"

    def __init__(self) -> None:
        self._jobs: dict[int, dict[str, Any]] = {}
        self._exceptions: list[dict[str, Any]] = []
        self._barriers: dict[int, Barrier] = {}

    @request("put")
    def put(self, msg: Message) -> None:
        self._jobs[msg.payload["id"]] = msg.payload

    @request("exceptions")
    def exceptions(self, msg: Message) -> dict[str, Any]:
        return {"exceptions": self._exceptions}

    @request("lookup", service="job-info", allow=USER)
    def lookup(self, msg: Message) -> dict[str, Any]:
        job = self._jobs[msg.payload["id"]]
        payload = base64.b64encode(json.dumps(job["jobspec"]).encode()).decode()
        return {"id": msg.payload["id"], "J": f"aGVhZGVy.{payload}.none", "R": job["R"]}

    @request("shell-barrier", service="job-exec", allow=USER)
    def barrier(self, msg: Message) -> Any:
        jobid = msg.payload["id"]
        barrier = self._barriers.setdefault(jobid, Barrier(self.flux.send_message))
        active = list(range(self._jobs[jobid]["nshells"]))
        barrier.enter(msg.payload["rank"], msg, active, True, msg.payload.get("round"))
        return DEFERRED

    @request("raise", service="job-manager", allow=USER)
    def raise_(self, msg: Message) -> None:
        self._exceptions.append(msg.payload)
