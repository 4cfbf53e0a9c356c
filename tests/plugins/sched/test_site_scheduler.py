"""Schedulers that a site writes with `flux.scheduler`, in the way of stock Flux."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flux.errors import FluxError
from flux.idset import IDset
from flux.resource import InfeasibleRequest, InsufficientResources, ResourcePool, ResourceSet
from flux.testing import Instance, wait_for

CONFIG = """
[resource]
noverify = true
[[resource.config]]
hosts = "{host}"
cores = "0-3"
"""
SCHEDULER = """
import heapq
from flux.resource import InfeasibleRequest, InsufficientResources
from flux.scheduler import Scheduler


class Site(Scheduler):
    queue_depth = 8

    def __init__(self, h, *args):
        self.told = 0
        super().__init__(h, *args)

    def schedule(self):
        while self._queue:
            job = self._queue[0]
            try:
                got = self.resources.alloc(job.jobid, job.resource_request)
            except InsufficientResources:
                break
            except InfeasibleRequest as exc:
                job.request.deny(str(exc))
            else:
                job.request.success(got, {"sched": {"resource_summary": got.dumps()}})
            heapq.heappop(self._queue)
            yield

    def forecast(self):
        for job in sorted(self._queue):
            self.told += 1
            job.request.annotate({"sched": {"reason_pending": f"waits behind {len(self.resources.job_end_times())}"}})

    def stats_get(self):
        return {**super().stats_get(), "told": self.told}


def mod_main(h, *args):
    Site(h, *args).run()
"""
R: dict[str, Any] = {
    "version": 1,
    "execution": {
        "R_lite": [{"rank": "0-1", "children": {"core": "0-3"}}],
        "nodelist": ["a[0-1]"],
        "starttime": 0.0,
        "expiration": 0.0,
    },
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """An instance with four cores, scheduled by a file of a site's."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "flux.toml").write_text(CONFIG.format(host=socket.gethostname().partition(".")[0]))
    (folder / "site.py").write_text(SCHEDULER)
    with Instance(1, args=[f"--config-path={folder / 'flux.toml'}"], env={"SITE": str(folder / "site.py")}) as here:
        yield here


def flux(here: Instance, *words: str) -> str:
    result = here.run("flux", *words)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def submit(here: Instance, *words: str, duration: str = "1h") -> str:
    return flux(here, "submit", f"--setattr=system.exec.test.run_duration={duration}", *words, "true")


def swap(here: Instance, old: str, new: str) -> None:
    flux(here, "module", "remove", old)
    flux(here, "module", "load", new)


@pytest.fixture
def site(running: Instance) -> Iterator[Instance]:
    """With the site's scheduler; nothing runs afterwards, and sched-simple is there again."""
    swap(running, "sched-simple", running.env["SITE"])
    yield running
    flux(running, "cancel", "--all")
    flux(running, "queue", "drain")
    swap(running, "site", "sched-simple")


def free_cores(here: Instance) -> str:
    return flux(here, "resource", "list", "-no", "{ncores}", "-s", "free")


def annotation(here: Instance, job: str, key: str) -> str:
    return flux(here, "jobs", "-no", f"{{annotations.sched.{key}}}", job)


def test_jobs_run_wait_and_are_refused(site: Instance) -> None:
    first = submit(site, "-n3")
    flux(site, "job", "wait-event", first, "start")
    wait_for(lambda: annotation(site, first, "resource_summary") == "rank0/core[0-2]", what="what it got")
    waits = submit(site, "-n2", duration="0.01s")
    wait_for(lambda: annotation(site, waits, "reason_pending") == "waits behind 1", what="the forecast")
    later = submit(site, "--urgency=31", "-n1", duration="0.01s")  # goes before what waits
    flux(site, "job", "wait-event", later, "clean")
    refused = submit(site, "-n5")
    assert "5 cores asked, the instance has 4 cores" in flux(site, "job", "wait-event", refused, "exception")
    canceled = submit(site, "-n2")
    flux(site, "cancel", canceled)
    flux(site, "job", "wait-event", canceled, "clean")
    handle = site.handle()
    wait_for(lambda: handle.rpc("site.stats-get").get()["pending_jobs"] == 1, what="the end of its request")
    flux(site, "cancel", first)
    flux(site, "job", "wait-event", waits, "clean")
    wait_for(lambda: annotation(site, waits, "reason_pending") == "", what="the end of the forecast")
    stats = handle.rpc("site.stats-get").get()
    assert stats["pending_jobs"] == 0
    assert stats["told"] > 0 < stats["sched_passes"]


def test_it_takes_over_what_runs(running: Instance) -> None:
    job = submit(running, "-n1")
    flux(running, "job", "wait-event", job, "start")
    swap(running, "sched-simple", running.env["SITE"])
    wait_for(lambda: free_cores(running) == "3", what="what the job holds")
    flux(running, "module", "reload", "job-manager")
    other = submit(running, "-n3", duration="0.01s")
    flux(running, "job", "wait-event", other, "clean")
    flux(running, "update", job, "duration=2h")
    swap(running, "site", "sched-simple")
    wait_for(lambda: free_cores(running) == "3", what="what the job holds")
    flux(running, "cancel", job)
    flux(running, "job", "wait-event", job, "clean")


def test_feasibility_and_drained_nodes(site: Instance) -> None:
    handle = site.handle()
    slot = {"type": "slot", "count": 9, "label": "t", "with": [{"type": "core", "count": 1}]}
    with pytest.raises(FluxError, match="9 cores asked"):
        handle.rpc("feasibility.check", {"jobspec": {"resources": [slot], "attributes": {}}}).get()
    flux(site, "resource", "drain", "0")
    job = submit(site, "-n1", duration="0.01s")
    wait_for(lambda: annotation(site, job, "reason_pending") == "waits behind 0", what="the forecast")
    flux(site, "resource", "undrain", "0")
    flux(site, "job", "wait-event", job, "clean")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("queue-depht=8", "argument 'queue-depht=8': queue-depth=, log-level= and pool-class= are what there is"),
        ("queue-depth=0", "queue-depth=0: a number of at least 1, or unlimited"),
        ("log-level=loud", "'loud' is no level: emerg, alert"),
        ("pool-class=flux.resource:IDset", "pool-class=flux.resource:IDset: "),
        ("pool-class=flux.idset:IDset", "pool-class=flux.idset:IDset: that is no flux.resource.ResourcePool"),
    ],
)
def test_arguments_that_make_no_sense(running: Instance, argument: str, message: str) -> None:
    done = running.run("flux", "module", "load", running.env["SITE"], argument)
    assert (done.returncode, done.stderr.startswith(f"flux-module: site: {message}")) == (1, True), done.stderr
    assert done.stderr.count("\n") == 1


# -- the pool


def jobspec(cores: int, duration: float = 0.0) -> dict[str, Any]:
    slot = {"type": "slot", "count": cores, "label": "task", "with": [{"type": "core", "count": 1}]}
    return {"resources": [slot], "attributes": {"system": {"duration": duration}}}


def test_a_pool_gives_and_takes_back(tmp_path: Path) -> None:
    pool = ResourcePool({**R, "scheduling": {"writer": "site"}})
    request = pool.parse_resource_request(jobspec(6, duration=60.0))
    with pytest.raises(InsufficientResources):
        pool.alloc(1, request)
    before = pool.generation
    pool.mark_up("all")
    assert pool.generation > before
    got = pool.alloc(1, request)
    assert got.dumps() == "rank0/core[0-3] rank1/core[0-1]"
    made = got.to_dict()
    assert made["scheduling"] == {"writer": "site"}
    assert made["execution"]["expiration"] == pytest.approx(made["execution"]["starttime"] + 60.0)
    assert pool.job_end_times() == [(1, got.expiration)]
    twin = pool.copy()
    twin.free(1)
    assert (twin.holds(1), pool.holds(1)) == (False, True)
    pool.free(1, got.to_resource_set().copy_ranks(IDset("1")))
    assert ResourceSet(pool.copy_allocated()).ncores == 4
    pool.free(1, final=True)
    with pytest.raises(InfeasibleRequest, match="9 cores asked, the instance has 8 cores"):
        pool.alloc(2, pool.parse_resource_request(jobspec(9)))
    with pytest.raises(InfeasibleRequest, match="is not supported"):
        pool.parse_resource_request({"resources": [{"type": "rack", "count": 1}]})
    pool.expiration = 5.0
    assert pool.alloc(3, pool.parse_resource_request(jobspec(1))).expiration == 5.0
    pool.update_expiration(3, 4.0)
    assert pool.job_end_times() == [(3, 4.0)]
    pool.mark_down("1")
    assert ResourceSet(pool.copy_down()).ncores == 4
    with pytest.raises(ValueError, match="rank 0 do not exist or are taken"):
        pool.register_alloc(4, ResourceSet(R).copy_ranks(IDset("0")))
