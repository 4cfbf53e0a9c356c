"""The three policies of the guide, isolated: they limit, rank and hold jobs, and survive the death of their process."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flux.testing import Instance, wait_for

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "policies.md"


def policy(folder: Path, name: str) -> str:
    """Write a policy of the guide to a file."""
    found = re.search(rf"(?ms)^```python\n# {name}\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"))
    assert found and found[1].count("\n") < 40, f"{name} is short"
    file = folder / name
    file.write_text(found[1])
    return str(file)


class Site:
    """An instance in which a test may load policies."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.handle = instance.handle()

    def flux(self, *words: str) -> str:
        result = self.instance.run("flux", *words)
        assert result.returncode == 0, result.stderr
        return str(result.stdout.strip())

    def event(self, job: str, name: str) -> dict[str, Any]:
        line: dict[str, Any] = json.loads(self.flux("job", "wait-event", "-f", "json", job, name))
        return line

    def pid(self, name: str) -> int:
        pid: int = self.handle.rpc("job-manager.jobtap-query", {"name": name}).get()["isolated"]["pid"]
        return pid

    def kill(self, name: str) -> None:
        """Kill the process of a policy, and wait for its successor."""
        old = self.pid(name)
        os.kill(old, signal.SIGKILL)
        wait_for(lambda: self.pid(name) not in (0, old), what="a new process")


@pytest.fixture(scope="module")
def site(flux_instance: Callable[..., Instance]) -> Site:
    return Site(flux_instance(1))


@pytest.fixture(autouse=True)
def _tidy(site: Site) -> Iterator[None]:
    yield
    site.flux("cancel", "--all", "--quiet")
    site.flux("jobtap", "remove", "all")
    site.flux("queue", "idle", "--quiet")


@pytest.fixture
def licenses() -> Iterator[ThreadingHTTPServer]:
    """A service that gives the licenses whose names are in its `free`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path[1:] in self.server.free else 404)
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.free = set()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_limit_per_user_counts_right_after_its_process_was_killed(site: Site, tmp_path: Path) -> None:
    site.flux("jobtap", "load", "--isolated", policy(tmp_path, "per_user.py"))
    site.handle.rpc("config.load", {"site": {"jobs-per-user": {"default": 2}}}).get()
    first = site.flux("submit", "--urgency=hold", "true")
    site.flux("submit", "--urgency=hold", "true")
    for _ in range(2):
        refused = site.instance.run("flux", "submit", "true")
        assert refused.stderr == "flux-submit: you have 2 active jobs, the limit is 2\n"
        site.kill("per_user.py")
    site.flux("cancel", first)
    site.event(first, "clean")
    site.flux("submit", "true")


def test_priorities_follow_age_and_size_also_later(site: Site, tmp_path: Path) -> None:
    site.flux("jobtap", "load", "--isolated", policy(tmp_path, "age_size.py"), "core=7", "period=0.2")
    site.flux("queue", "stop", "--all")
    job = site.flux("submit", "true")
    assert site.event(job, "priority")["context"] == {"priority": 1_600_007}
    site.kill("age_size.py")
    site.flux("job", "urgency", job, "17")

    def last_priority() -> int:
        given = [json.loads(line) for line in site.flux("job", "eventlog", "-f", "json", job).splitlines()]
        return int([event["context"]["priority"] for event in given if event["name"] == "priority"][-1])

    wait_for(lambda: last_priority() == 1_700_007, what="the priority that the policy's new process gives")
    site.flux("queue", "start", "--all")
    site.event(job, "clean")


def test_a_job_waits_for_a_service_over_http_and_says_so(
    site: Site, tmp_path: Path, licenses: ThreadingHTTPServer
) -> None:
    url = f"http://127.0.0.1:{licenses.server_port}"
    file = policy(tmp_path, "license.py")
    site.flux("jobtap", "load", "--isolated", file, f"url={url}", "period=0.1")
    job = site.flux("submit", "--dependency=license:solver", "true")
    sentence = "license.py: no license for solver: HTTP Error 404"
    wait_for(lambda: sentence in site.flux("job", "explain", job), what="the refusal of the service")
    site.kill("license.py")
    wait_for(lambda: sentence in site.flux("job", "explain", job), what="the same of the new process")
    licenses.free.add("solver")  # type: ignore[attr-defined]
    site.event(job, "clean")
    assert site.flux("job", "status", job) == ""
