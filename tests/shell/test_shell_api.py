"""What plugins learn of a job and ask of the shell: flux_shell_get_info(3) and its kin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from shell_jobs import Jobs, jobspec, resources
from test_hook_sequence import standalone

from flux_shell import facts
from flux_shell.job import Job


def on_nodes(count: Any) -> dict[str, Any]:
    """Slots of three cores and a GPU, two on each node."""
    spec = jobspec(["true"])
    inside = [{"type": "core", "count": 3}, {"type": "gpu", "count": 1}]
    slot = {"type": "slot", "count": 2, "label": "task", "with": inside}
    spec["resources"] = [{"type": "node", "count": count, "exclusive": True, "with": [slot]}]
    return spec


@pytest.mark.parametrize("count", [2, {"min": 2, "max": 4, "operator": "+", "operand": 1}, "2-4"])
def test_jobspec_info_of_nodes(count: Any) -> None:
    assert facts.jobspec_info(Job(1, on_nodes(count), resources([6, 6]))) == {
        "version": 1,
        "ntasks": 4,
        "nslots": 4,
        "cores_per_slot": 3,
        "gpus_per_slot": 1,
        "nnodes": 2,
        "slots_per_node": 2,
        "node_exclusive": True,
    }


def test_jobspec_info_without_nodes() -> None:
    found = facts.jobspec_info(Job(1, jobspec(["true"], 3), resources([2, 1])))
    assert (found["nslots"], found["cores_per_slot"]) == (3, 1)
    assert (found["nnodes"], found["slots_per_node"], found["node_exclusive"]) == (-1, -1, False)


def test_rank_info() -> None:
    job = Job(1, jobspec(["true"], 3), resources([2, 1]))
    assert facts.rank_info(job, 1) == {
        "id": 1,
        "name": "node1",
        "broker_rank": 1,
        "ntasks": 1,
        "taskids": "2",
        "resources": {"ncores": 1, "cores": "0", "gpus": "", "core": "0"},
    }
    with pytest.raises(ValueError, match="there is no shell rank 2: the job has 2 shells"):
        facts.rank_info(job, 2)


def test_an_exception_that_does_not_end_the_job(jobs: Jobs, tmp_path: Path) -> None:
    (tmp_path / "raises.py").write_text(
        "from flux.hooks.shell import hookimpl\n\n\n@hookimpl\ndef shell_start(shell):\n"
        "    shell.raise_exception('mine', 3, 'only a remark')\n"
    )
    (tmp_path / "mine.lua").write_text(f'plugin.load "{tmp_path}/raises.py"')
    job, codes = jobs.run(["true"], cwd=str(tmp_path), options={"userrc": "mine.lua"})
    found = next(e for e in jobs.exceptions() if e["id"] == job.id)
    assert (codes, found["type"], found["severity"], found["note"]) == ([0], "mine", 3, "only a remark")


def test_plugins_hear_of_a_new_verbosity(tmp_path: Path) -> None:
    script = """
        plugin.register { name = "p", handlers = {
          { topic = "shell.init", fn = function () shell.debug "not yet"; shell.options.verbose = 1 end },
          { topic = "shell.log-setlevel", fn = function () shell.debug "now" end } } }
    """
    told = standalone(tmp_path, ["true"], script).stderr
    assert "flux-shell[0]: DEBUG: now\n" in told
    assert "not yet" not in told
