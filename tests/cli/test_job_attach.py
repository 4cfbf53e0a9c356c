"""`flux job attach` beside its job: earlier output, signals, the status line (flux-job(1))."""

from __future__ import annotations

import functools
import io
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from flux.core.reactor import Reactor
from flux_cli.attach_output import AttachOutput

Run = Callable[..., subprocess.CompletedProcess[str]]
Spawn = Callable[..., subprocess.Popen[str]]

pytestmark = pytest.mark.usefixtures("no_jobs_left")


@pytest.fixture
def attach(spawn: Spawn) -> Spawn:
    """Starts `flux job attach`; ended at last."""
    return functools.partial(spawn, "job", "attach")


def test_the_last_lines_of_a_job_that_is_over(run: Run) -> None:
    jobid = run("submit", "--wait", "seq", "20").stdout.strip()
    assert run("job", "attach", "--tail=3", jobid).stdout == "18\n19\n20\n"
    assert run("job", "attach", "--tail", jobid).stdout.split() == [str(n) for n in range(11, 21)]
    assert run("job", "attach", "--tail=0", jobid).stdout == ""
    done = run("job", "attach", "--tail=-1", jobid)
    assert (done.returncode, "--tail" in done.stderr) == (1, True)


def test_what_a_shell_logs_at_its_very_end_is_shown(run: Run, tmp_path: Path) -> None:
    (tmp_path / "last.lua").write_text(
        'plugin.register { name = "last", handlers = {\n'
        '  { topic = "shell.finish", fn = function() shell.log("all tasks have ended") end },\n'
        '  { topic = "shell.exit", fn = function() shell.log("the last word") end } } }\n'
    )
    done = run("run", "-o", f"initrc={tmp_path}/last.lua", "true")
    times, lines = zip(*(line.split(": ", 1) for line in done.stderr.splitlines()), strict=True)
    assert lines == ("flux-shell[0]: all tasks have ended", "flux-shell[0]: the last word")
    assert all(re.fullmatch(r"\d+\.\d{3}s", time) for time in times)


def test_quiet_shows_nothing_of_the_log_of_a_shell(run: Run, tmp_path: Path) -> None:
    jobid = run("submit", "--wait", "--cwd", str(tmp_path / "nowhere"), "pwd").stdout.strip()
    assert "could not change directory" in run("job", "attach", jobid).stderr
    done = run("job", "attach", "--quiet", jobid)
    assert (done.stdout, done.stderr) == ("/tmp\n", "")


def test_each_piece_of_a_line_is_labelled_unless_it_follows_the_one_before() -> None:
    out = io.TextIOWrapper(io.BytesIO())
    shown = AttachOutput(Reactor(), "job", out, None, label=True, prefix="", patient=True)
    for rank, data in (("0", b"ab"), ("1", b"ab"), ("0", b"cd\n"), ("0", b"e"), ("0", b"f\ng\n")):
        shown.write("stdout", rank, data)
    shown.flush()
    assert out.buffer.getvalue() == b"0: ab1: ab0: cd\n0: ef\n0: g\n"


def test_the_last_line_of_a_job_that_goes_on(run: Run, attach: Spawn, tmp_path: Path) -> None:
    script = f"echo a; echo b; until test -e {tmp_path}/go; do sleep 0.1; done; echo c"
    jobid = run("submit", "sh", "-c", script).stdout.strip()
    run("job", "wait-event", "-q", "-p", "output", "-m", 'data="b\\n"', jobid, "data")
    follower = attach("--tail=1", jobid)
    assert follower.stdout is not None
    assert follower.stdout.readline() == "b\n"
    (tmp_path / "go").touch()
    assert follower.communicate(timeout=60) == ("c\n", "")


def has_ended(process: subprocess.Popen[str], within: float) -> bool:
    try:
        process.wait(within)
    except subprocess.TimeoutExpired:
        return False
    return True


def interrupt(follower: subprocess.Popen[str], second: signal.Signals) -> None:
    """Interrupt it, and send another signal; both again when it was stalled, so that they did not belong together."""
    assert follower.stderr is not None
    follower.send_signal(signal.SIGINT)
    assert "one more ctrl-C within 2s to cancel or ctrl-Z to detach" in follower.stderr.readline()
    follower.send_signal(second)
    while not has_ended(follower, within=5.0):
        follower.send_signal(signal.SIGCONT)
        follower.send_signal(signal.SIGINT)
        if not has_ended(follower, within=0.3):
            follower.send_signal(second)


def test_two_interrupts_cancel_and_one_with_a_stop_detaches(run: Run, attach: Spawn) -> None:
    jobid = run("submit", "--wait-event=start", "sleep", "600").stdout.strip()
    for second, code in ((signal.SIGTSTP, 1), (signal.SIGINT, 143)):
        follower = attach("-E", jobid)
        assert follower.stderr is not None
        while "job.start" not in follower.stderr.readline():
            assert follower.poll() is None
        interrupt(follower, second)
        _, said = follower.communicate(timeout=60)
        assert (follower.returncode, "detaching" in said) == (code, second == signal.SIGTSTP)
    assert 'type="cancel" severity=0 note="interrupted by ctrl-C"' in run("job", "eventlog", jobid).stdout


def test_events_are_followed_as_far_as_wanted(run: Run) -> None:
    jobid = run("submit", "--wait", "echo", "out").stdout.strip()
    done = run("job", "attach", "-q", "-u", "-E", "--wait-event=finish", jobid)
    assert (done.returncode, done.stdout) == (0, "out\n")
    assert "job.finish" in done.stderr
    assert "job.clean" not in done.stderr


def test_the_status_line_says_what_a_job_waits_for(run: Run) -> None:
    jobid = run("submit", "--wait", "true").stdout.strip()
    assert "waiting for resources" in run("job", "attach", "--show-status", jobid).stderr
    assert run("job", "attach", jobid).stderr == ""


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["-r", "-i", "0", "f1"], "Do not use --stdin-ranks with --read-only"),
        (["-i", "foo", "f1"], "Invalid value 'foo' for --stdin-ranks"),
        (["f1234"], "f1234: No such job"),
    ],
)
def test_nonsense_is_refused(run: Run, args: list[str], message: str) -> None:
    done = run("job", "attach", *args)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
