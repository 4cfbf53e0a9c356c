"""Much output to a client that does not read it: the broker waits for it, nobody else does, and nothing is lost."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from flux.testing import Instance

Run = Callable[..., subprocess.CompletedProcess[str]]
Spawn = Callable[..., subprocess.Popen[str]]

LINES = 60_000
TEXT = "".join(f"{n:080}\n" for n in range(1, LINES + 1))
DIGEST = hashlib.md5(TEXT.encode()).hexdigest()
FLUX = os.path.join(os.path.dirname(sys.executable), "flux")
ROOM = 30_000
"""Lines, more than fit into what lies between the broker and a client's stdout."""

pytestmark = pytest.mark.usefixtures("no_jobs_left")


def sent(run: Run) -> int:
    """Responses of job-info to its clients."""
    return int(json.loads(run("module", "stats", "job-info").stdout)["tx"]["response"])


@pytest.mark.parametrize("when", ["the job runs", "the job is over"])
def test_a_client_that_does_not_read_is_waited_for(running: Instance, run: Run, spawn: Spawn, when: str) -> None:
    options = ["--wait"] if when == "the job is over" else []
    jobid = run("submit", *options, "seq", "-f%080.0f", str(LINES)).stdout.strip()
    before = sent(run)
    stopped = spawn("job", "attach", jobid)
    assert run("job", "attach", jobid).stdout == TEXT
    assert sent(run) - before < LINES + ROOM
    assert stopped.communicate(timeout=60) == (TEXT, "")


def test_a_client_behind_a_proxy_is_waited_for_and_its_neighbour_is_not(
    running: Instance, run: Run, spawn: Spawn
) -> None:
    jobid = run("submit", "--wait", "seq", "-f%080.0f", str(LINES)).stdout.strip()
    before = sent(run)
    follow = f"{FLUX} job attach {jobid}"
    stopped = spawn("proxy", running.uri, "sh", "-c", f"{follow} & {follow} | md5sum >&2; wait")
    assert stopped.stderr is not None
    assert stopped.stderr.readline().split()[0] == DIGEST
    assert sent(run) - before < LINES + ROOM
    assert stopped.communicate(timeout=60) == (TEXT, "")
