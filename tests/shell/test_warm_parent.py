"""What shells are forked from: its rehearsal, and what it has imported."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from shell_jobs import COMPOSITION, Jobs

import flux_shell
from flux.testing import Instance, wait_for

REHEARSE = """
import gc, json, os
from flux_shell.rehearsal import rehearse

def state():
    gc.collect()
    return [os.getcwd(), sorted(os.sched_getaffinity(0)), dict(os.environ), sorted(os.listdir("/proc/self/fd"))]

before = state()
status = rehearse()
print(json.dumps([status, before, state()]))
"""

PRELOADED = """
import json, sys
from flux_shell.warm import preload

preload()
print(json.dumps(sorted(sys.modules)))
"""

SERVE = """
import json, os, socket
from flux_shell import warm

ours, theirs = socket.socketpair()
null = os.open(os.devnull, os.O_RDWR)
for seq in range(20):
    request = {"seq": seq, "argv": ["flux-shell", "--help"], "set": {}, "unset": [], "cwd": None, "brief": {}}
    body = json.dumps(request).encode()
    socket.send_fds(ours, [len(body).to_bytes(4, "big") + body], [null] * 3)
if not os.fork():
    ours.close()
    parent, prepare = warm.WarmParent(theirs), warm.preload

    def preload():
        parent._answer({"rehearses": parent._forked})
        return prepare()

    warm.preload = preload
    parent.run()
    os._exit(0)
theirs.close()
heard, forked, answers = [], 0, ours.makefile("rb")
while len(heard) < 20:
    answer = json.loads(answers.read(int.from_bytes(answers.read(4), "big")))
    if "status" not in answer and "seq" in answer:
        heard.append(answer["seq"])
    forked = answer.get("rehearses", forked)
print(json.dumps([sorted(heard), forked]))
"""
"""Asks a warm parent for shells without a pause; those that it forks, and how many before it rehearses."""

HEAVY = {
    "asyncio",
    "ctypes",
    "hashlib",
    "lupa",
    "pathlib",
    "shutil",
    "ssl",
    "subprocess",
    "tempfile",
    "threading",
    "zmq",
}
"""What makes each fork dearer, and what few jobs use."""


def output_of(script: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-c", script]
    return subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, timeout=60, check=True)


def test_a_rehearsal_runs_a_job_and_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    done = output_of(REHEARSE, TMPDIR=str(tmp_path), FLUX_URI="local:///nowhere")
    status, before, after = json.loads(done.stdout)
    assert status == 0
    assert after == before
    assert done.stderr == ""
    assert os.listdir(tmp_path) == []


def test_a_warm_parent_has_imported_nothing_that_few_jobs_use(tmp_path: Path) -> None:
    for _ in range(2):
        output_of(PRELOADED, XDG_CACHE_HOME=str(tmp_path))  # finds what is installed, and keeps that
    modules = set(json.loads(output_of(PRELOADED, XDG_CACHE_HOME=str(tmp_path)).stdout))
    assert "flux_shell.shell" in modules
    assert modules & HEAVY == set()


def test_a_parent_that_has_no_pause_rehearses_all_the_same() -> None:
    assert json.loads(output_of(SERVE).stdout) == [list(range(20)), 16]


def warm_parent(jobs: Jobs) -> int:
    pid = jobs.handle.rpc("rexec.stats-get").get()["warm"]["flux-shell"]["pid"]
    assert isinstance(pid, int)
    return pid


def test_jobs_go_on_when_their_parent_dies(tmp_path: Path) -> None:
    with Instance(args=[f"--plugins={COMPOSITION}"]) as instance:
        jobs = Jobs(instance)
        release = tmp_path / "release"
        wait = ["sh", "-c", f"until [ -e {release} ]; do sleep 0.1; done; exit 3"]
        survivors = [jobs.start(wait), jobs.start(wait)]
        os.kill(parent := warm_parent(jobs), signal.SIGKILL)
        wait_for(lambda: warm_parent(jobs) != parent)
        survivors.append(jobs.start(wait))
        os.kill(parent := warm_parent(jobs), signal.SIGKILL)
        wait_for(lambda: warm_parent(jobs) != parent)
        killed = jobs.start(["sleep", "inf"])
        os.kill(warm_parent(jobs), signal.SIGKILL)
        os.kill(killed.pids[0], signal.SIGKILL)
        assert killed.wait() == [-signal.SIGKILL]
        release.touch()
        assert [job.wait() for job in survivors] == [[3]] * 3


def test_tasks_have_no_descriptor_of_their_shells_parent(jobs: Jobs) -> None:
    job, codes = jobs.run(["sh", "-c", "ls -l /proc/self/fd"], options={"pmi": "off"})
    assert codes == [0] and "socket:" not in job.output()["0"]


def test_code_that_is_installed_meanwhile_is_taken_up_and_jobs_go_on(tmp_path: Path) -> None:
    copy = shutil.copytree(Path(str(flux_shell.__file__)).parent, tmp_path / "flux_shell")
    with Instance(args=[f"--plugins={COMPOSITION}"], env={"PYTHONPATH": str(tmp_path)}) as instance:
        jobs = Jobs(instance)
        release = tmp_path / "release"
        old = jobs.start(["sh", "-c", f"until [ -e {release} ]; do sleep 0.1; done; exit 3"])
        source = copy / "core.py"
        source.write_text(source.read_text().replace('"FLUX_JOB_NNODES"', '"FLUX_JOB_NODES_IN_ALL"'))

        def is_new() -> bool:
            return "FLUX_JOB_NODES_IN_ALL=1\n" in jobs.run(["env"])[0].output()["0"]

        wait_for(is_new, what="a shell of the new code", timeout=60)
        source.write_text("this is no Python")
        release.touch()
        assert old.wait() == [3]
        assert is_new()
