"""Jobs whose tasks stop for a debugger go on once it is there: flux run --debug-emulate, flux job attach --debug."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_a_job_that_is_run_for_a_debugger_goes_on(run: Run) -> None:
    result = run("run", "-n2", "--debug-emulate", "echo", "went on", stdin=subprocess.DEVNULL)
    assert (result.returncode, result.stdout) == (0, "went on\nwent on\n"), result.stderr


def test_who_attaches_for_debugging_lets_tasks_go_on(run: Run) -> None:
    jobid = run("submit", "-o", "stop-tasks-in-exec", "echo", "went on").stdout.strip()
    run("job", "wait-event", "-p", "guest.exec.eventlog", jobid, "shell.start")
    assert run("job", "hostpids", jobid).stdout.count(":") == 1
    result = run("job", "attach", "--debug", jobid, stdin=subprocess.DEVNULL)
    assert (result.returncode, result.stdout) == (0, "went on\n"), result.stderr
