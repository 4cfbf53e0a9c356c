"""Submitting and following jobs over the wire, for the tests in this folder."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from flux.errors import FluxError
from flux.job import JobspecV1
from flux.job.submit import submit_async
from flux.message import FLAG_STREAMING
from flux.testing import Instance

NORMAL_LIFE = "submit validate depend priority alloc start finish release free clean".split()


class Jobs:
    """Jobs of one instance. A job's command is ["exit", N] or ["hold"]."""

    folder = Path(__file__).parent

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.handle = instance.handle()

    def spec(self, *command: str, tasks: int = 1, **system: Any) -> dict[str, Any]:
        jobspec = JobspecV1.from_command(list(command), num_tasks=tasks)
        jobspec.environment = {"SECRET": "x"}
        for key, value in system.items():
            jobspec.setattr(f"system.{key}", value)
        return jobspec.jobspec

    def submit(self, *command: str, urgency: int = 16, waitable: bool = True, **system: Any) -> int:
        return int(submit_async(self.handle, self.spec(*command, **system), urgency, waitable).get_id())

    def refusal(self, *command: str, **system: Any) -> str:
        """The sentence with which a submission is refused."""
        with pytest.raises(FluxError) as caught:
            self.submit(*command, **system)
        return str(caught.value)

    def rpc(self, topic: str, **payload: Any) -> Any:
        return self.handle.rpc(topic, payload).get()

    def error(self, topic: str, **payload: Any) -> FluxError:
        with pytest.raises(FluxError) as caught:
            self.rpc(topic, **payload)
        return caught.value

    def wait(self, jobid: int) -> dict[str, Any]:
        result: dict[str, Any] = self.rpc("job-manager.wait", id=jobid)
        return result

    def reap(self) -> None:
        """Take the results that earlier tests left."""
        try:
            while True:
                self.wait(-1)
        except ChildProcessError:
            pass

    def eventlog(self, jobid: int) -> str:
        """The eventlog of a job as it is now."""
        text: str = self.rpc("job-manager.getattr", id=jobid, attrs=["eventlog"])["eventlog"]
        return text

    def cancel(self, jobid: int) -> None:
        self.rpc("job-manager.raise", id=jobid, type="cancel", severity=0)

    def watch(self, jobid: int, path: str = "eventlog", flags: int = 0) -> Any:
        request = {"id": jobid, "path": path, "flags": flags}
        return self.handle.rpc("job-info.eventlog-watch", request, flags=FLAG_STREAMING)

    def events(self, jobid: int) -> list[dict[str, Any]]:
        """All events of a job, once it is over."""
        return [json.loads(answer["event"]) for answer in self.watch(jobid)]

    def wait_event(self, jobid: int, name: str) -> dict[str, Any]:
        """The first event of that name, waiting for it."""
        watch = self.watch(jobid, flags=1)
        for answer in watch:
            event: dict[str, Any] = json.loads(answer["event"])
            if event["name"] == name:
                watch.cancel("job-info.eventlog-watch-cancel")
                return event
        raise FluxError(errno.ENODATA, f"the job never had an event {name}")

    def names(self, jobid: int) -> list[str]:
        return [event["name"] for event in self.events(jobid)]

    def flux(self, *words: str, **options: Any) -> Any:
        return self.instance.run("flux", *words, **options)
