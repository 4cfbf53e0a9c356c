"""Jobs of several shells, on two brokers: layout, output through shell 0, PMI exchange, lost shells."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from shell_jobs import Jobs, RunningJob

PMI_RING = """
import os
from flux.pmi.client import PMIClient

pmi = PMIClient.from_env(os.environ)
pmi.init()
for turn in range(3):
    pmi.put(f"{turn}.{pmi.rank}", f"value {turn} of {pmi.rank}")
    pmi.barrier()
    for rank in range(pmi.size):
        assert pmi.get(f"{turn}.{rank}") == f"value {turn} of {rank}"
print(pmi.get("PMI_process_mapping"), pmi.get("flux.instance-level"), pmi.get_universe_size())
pmi.finalize()
"""

SHOW = ["sh", "-c", "echo $FLUX_TASK_RANK $FLUX_TASK_LOCAL_ID $FLUX_JOB_NNODES"]


def show(job: RunningJob) -> list[list[str]]:
    """[rank, local id, number of nodes] of each task, by rank."""
    return sorted(text.split() for text in job.output().values())


def test_tasks_fill_the_nodes_in_order(jobs2: Jobs) -> None:
    job, codes = jobs2.run(SHOW, [2, 1])
    assert codes == [0, 0]
    assert show(job) == [["0", "0", "2"], ["1", "1", "2"], ["2", "0", "2"]]
    assert job.names() == ["shell.init", "shell.start", "shell.task-exit"]
    assert job.eofs() == 6


def test_cyclic_taskmap(jobs2: Jobs) -> None:
    job, _ = jobs2.run(SHOW, [2, 2], options={"taskmap": {"scheme": "cyclic"}})
    assert [line[:2] for line in show(job)] == [["0", "0"], ["1", "0"], ["2", "1"], ["3", "1"]]
    start = next(event for event in job.eventlog("exec.eventlog") if event.name == "shell.start")
    assert start.context["taskmap"] == {"version": 1, "map": [[0, 2, 1, 2]]}


def test_each_shell_exits_with_the_code_of_its_own_tasks(jobs2: Jobs) -> None:
    assert jobs2.run(["sh", "-c", "exit $FLUX_TASK_RANK"], [2, 2])[1] == [1, 3]


def test_pmi_exchange_among_shells(jobs2: Jobs) -> None:
    job, codes = jobs2.run([sys.executable, "-c", PMI_RING], [2, 2])
    assert (codes, job.output("stderr")) == ([0, 0], dict.fromkeys("0123", ""))
    assert set(job.output().values()) == {"(vector,(0,2,2)) 1 4\n"}


def test_pmi_abort_ends_the_job(jobs2: Jobs) -> None:
    script = "from flux.pmi.client import PMIClient as P\np = P.from_env(); p.init(); p.abort(9, 'enough')"
    job = jobs2.start([sys.executable, "-c", script], [1, 1])
    assert job.wait() == [9, 9]
    assert any("enough" in e["note"] for e in jobs2.exceptions() if e["id"] == job.id)


def test_the_first_shell_does_not_wait_for_one_that_an_error_has_ended(jobs2: Jobs, tmp_path: Path) -> None:
    abort = "from flux.pmi.client import PMIClient as P; p = P.from_env(); p.init(); p.abort(9, 'enough')"
    wait = f"until test -e {tmp_path}/started; do sleep 0.1; done"
    job = jobs2.start(["sh", "-c", f'{wait}; test $PMI_RANK = 0 || exec {sys.executable} -c "{abort}"'], [1, 1])
    job.wait_event("shell.start")
    (tmp_path / "started").touch()
    assert job.wait() == [0, 9]


def test_stdin_reaches_tasks_of_all_shells(jobs2: Jobs) -> None:
    job = jobs2.start(["cat"], [1, 1])
    context: dict[str, Any] = job.wait_event("shell.init")
    io = {"stream": "stdin", "rank": "all", "data": "hello\n", "eof": True}
    jobs2.handle.rpc(f"{context['service']}.stdin", io, nodeid=context["leader-rank"]).get()
    assert job.wait() == [0, 0]
    assert job.output() == {"0": "hello\n", "1": "hello\n"}


def test_kill_event_reaches_all_shells(jobs2: Jobs) -> None:
    job = jobs2.start(["sleep", "1000"], [1, 1])
    job.wait_event("shell.start")
    job.kill(signal.SIGTERM)
    assert job.wait() == [143, 143]


def test_a_lost_shell_does_not_keep_the_first_one_waiting(jobs2: Jobs) -> None:
    job = jobs2.start(["sh", "-c", "[ $FLUX_TASK_RANK = 0 ] || exec sleep 1000"], [1, 1])
    service = job.wait_event("shell.init")["service"]
    job.wait_event("shell.start")
    os.kill(job.pids[1], signal.SIGKILL)
    lost = {"type": "lost-shell", "severity": 1, "shell_rank": 1, "message": "shell 1 is lost"}
    jobs2.handle.rpc(f"{service}.exception", lost, nodeid=0).get()
    assert job.wait() == [0, -9]
    logged = [event.context["message"] for event in job.eventlog("output") if event.name == "log"]
    assert logged == ["shell 1 is lost"]
