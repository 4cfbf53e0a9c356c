"""One job's execution: what a user would lose is a job that never ends, or a resource that never comes back."""

from __future__ import annotations

import errno
import signal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flux.errors import FluxError
from flux_plugins.job_exec.barrier import Barrier
from flux_plugins.job_exec.machine import (
    Action,
    Drain,
    Execution,
    Kill,
    Launch,
    Log,
    Respond,
    Seal,
    SetExitTimer,
    SetKillTimer,
    ShellException,
    SignalTasks,
)
from flux_plugins.job_exec.protocol import Settings, read_settings
from flux_plugins.job_exec.testexec import TestPlan as Plan
from flux_plugins.job_exec.testexec import read_plan

RELEASE = Respond("release", {"ranks": "all", "final": True})


def responses(actions: list[Action]) -> list[str]:
    return [action.type for action in actions if isinstance(action, Respond)]


def begun(ranks: list[int], **options: Any) -> Execution:
    execution = Execution(ranks, Settings(**options))
    execution.on_start()
    return execution


def running(ranks: list[int], **options: Any) -> Execution:
    execution = begun(ranks, **options)
    execution.on_prepared()
    for rank in ranks:
        execution.on_shell_started(rank)
    assert execution.started
    return execution


def test_a_job_runs_and_ends() -> None:
    execution = Execution([2, 5], Settings())
    assert execution.on_start() == [Log("init", {}), Log("starting", {}), Launch([2, 5])]
    assert execution.on_shell_started(2) == []
    assert execution.on_prepared() == []
    assert execution.on_shell_started(5) == [Respond("start", {})]
    assert execution.on_shell_exit(5, 0) == [Log("shell-exit", {"rank": 5, "wait_status": 0, "active_ranks": "2"})]
    assert execution.on_shell_exit(2, 256) == [
        Log("shell-exit", {"rank": 2, "wait_status": 256}),
        Log("complete", {"status": 256}),
        Log("done", {}),
        Seal(),
        Respond("finish", {"status": 256}),
        RELEASE,
    ]


def test_shells_that_are_faster_than_the_kvs_do_not_overtake_start() -> None:
    execution = begun([0])
    execution.on_shell_started(0)
    assert responses(execution.on_shell_exit(0, 0)) == []
    assert responses(execution.on_prepared()) == ["start", "finish", "release"]


def killed(execution: Execution) -> list[tuple[float, Action]]:
    """What is done to a job that does not end, with the seconds since its exception."""
    actions, now, done = execution.on_exception(0), 0.0, []
    while actions:
        done += [(now, action) for action in actions if isinstance(action, Kill | SignalTasks | Drain | Respond)]
        now += sum(action.seconds for action in actions if isinstance(action, SetKillTimer))
        actions = execution.on_kill_timer()
    return done


def test_a_fatal_exception_signals_tasks_and_then_shells_again_and_again() -> None:
    execution = running([0, 1], kill_timeout=1.0, max_kill_count=4)
    assert execution.on_exception(1) == []
    execution.on_shell_exit(0, 0)
    *kills, drain, finish, release = killed(execution)
    assert kills == [
        (0.0, Kill(signal.SIGTERM, [1])),
        *((seconds, SignalTasks(signal.SIGKILL)) for seconds in (1.0, 2.0, 3.0, 4.0)),
        *((seconds, Kill(signal.SIGKILL, [1])) for seconds in (5.0, 6.0, 8.0, 12.0)),
    ]
    assert (drain[0], str(drain[1].ranks), drain[1].reason) == (12.0, "1", "unkillable user processes")
    assert [action.type for _, action in (finish, release)] == ["finish", "release"]
    assert execution.settings.effective_max_kill_timeout() == 12.0
    assert execution.on_shell_exit(1, 9) == [] and execution.on_kill_timer() == [] and execution.on_exception(0) == []


def test_a_site_may_say_how_long_a_job_has_to_die() -> None:
    execution = running([0], kill_timeout=1.0, max_kill_timeout=7.5, term_signal=signal.SIGUSR1)
    done = killed(execution)
    assert done[0] == (0.0, SignalTasks(signal.SIGUSR1))  # shells do not pass this one on
    assert [seconds for seconds, action in done if isinstance(action, Kill)] == [5.0, 6.0, 7.5]
    assert execution.over
    assert Settings().effective_max_kill_timeout() == 640.0


def test_shells_that_outlive_the_leader_are_ended() -> None:
    execution = running([4, 5, 6], shell_exit_timeout=7.0)
    assert SetExitTimer(7.0) in execution.on_shell_exit(4, 0)
    assert "exception" in responses(execution.on_exit_timer())
    assert SetExitTimer(7.0) not in running([0, 1], shell_exit_timeout=0.0).on_shell_exit(0, 0)
    over = running([0, 1])
    over.on_shell_exit(0, 0)
    over.on_shell_exit(1, 0)
    assert over.on_exit_timer() == []


def test_ranks_that_keep_the_others_waiting_are_drained() -> None:
    execution = running([0, 1, 2])
    actions = execution.on_barrier_timeout([1, 2])
    assert actions[0] == Respond(
        "exception",
        {"severity": 0, "type": "exec", "note": "start barrier timeout waiting for 2/3 nodes (ranks 1-2)"},
    )
    assert isinstance(actions[-1], Drain) and str(actions[-1].ranks) == "1-2"
    assert execution.on_barrier_timeout([1, 2]) == []


def test_a_shell_that_starts_after_the_exception_is_signalled_then() -> None:
    execution = begun([0, 1])
    execution.on_prepared()
    execution.on_shell_started(0)
    execution.on_exception(0)
    assert execution.on_shell_started(1) == [Kill(signal.SIGTERM, [1])]
    execution.on_shell_exit(0, 15)
    assert responses(execution.on_shell_exit(1, 15)) == ["release"]


@pytest.mark.parametrize(("wait_status", "status"), [(15, 143 << 8), (9, 137 << 8), (3 << 8, 3 << 8)])
def test_an_exception_may_say_how_the_job_ended(wait_status: int, status: int) -> None:
    execution = running([0])
    execution.on_exception(0, wait_status)
    assert Respond("finish", {"status": status}) in execution.on_shell_exit(0, 1 << 8)


def test_time_is_up() -> None:
    execution = running([0])
    exception, kill, _ = execution.on_expired()
    assert exception == Respond("exception", {"severity": 0, "type": "timeout", "note": "resource allocation expired"})
    assert kill == Kill(signal.SIGALRM, [0])
    assert execution.on_expired() == []


def test_a_shell_that_cannot_start_ends_the_others() -> None:
    execution = begun([0, 1])
    execution.on_prepared()
    execution.on_shell_started(0)
    exception, kill, _ = execution.on_shell_lost(1, "No such file or directory")
    assert isinstance(exception, Respond) and exception.data["type"] == "exec"
    assert "rank 1" in exception.data["note"] and "No such file" in exception.data["note"]
    assert kill == Kill(signal.SIGTERM, [0])
    assert responses(execution.on_shell_exit(0, 15)) == ["release"]


@pytest.mark.parametrize(("errnum", "code"), [(errno.ENOENT, 127), (errno.EACCES, 126)])
def test_a_shell_that_is_no_program_gives_the_job_an_exit_code(errnum: int, code: int) -> None:
    execution = begun([0])
    execution.on_prepared()
    finish = next(a for a in execution.on_shell_lost(0, "no", errnum) if isinstance(a, Respond) and a.type == "finish")
    assert finish.data == {"status": code << 8}


def test_losing_a_node_is_fatal_unless_the_job_can_do_without() -> None:
    execution = running([3, 4, 5])
    execution.critical = {0}
    note, exception = execution.on_shell_lost(5, "No route to host")[:2]
    assert isinstance(exception, Respond) and exception.data["severity"] == 2
    assert isinstance(note, ShellException) and (note.shell_rank, note.severity) == (2, 2)
    fatal, kill, _ = execution.on_shell_lost(3, "No route to host")
    assert isinstance(fatal, Respond) and fatal.data["severity"] == 0 and fatal.data["type"] == "node-failure"
    assert kill == Kill(signal.SIGTERM, [4])


def test_no_namespace_no_job() -> None:
    execution = begun([0])
    execution.on_shell_started(0)
    assert responses(execution.on_prepare_failed("File exists")) == ["exception"]
    assert responses(execution.on_shell_exit(0, 15)) == ["release"]


STEPS = st.one_of(
    st.just(("prepared",)),
    st.tuples(st.just("started"), st.integers(0, 2)),
    st.tuples(st.just("exit"), st.integers(0, 2), st.sampled_from([0, 256, 9, 15])),
    st.tuples(st.just("lost"), st.integers(0, 2)),
    st.tuples(st.just("exception"), st.sampled_from([0, 1, 7])),
    st.just(("expired",)),
    st.just(("timer",)),
)


@settings(max_examples=300)
@given(st.lists(STEPS, max_size=25))
def test_whatever_happens_the_job_ends_once_and_in_order(steps: list[tuple[Any, ...]]) -> None:
    execution = Execution([0, 1, 2], Settings(max_kill_count=2))
    seen = execution.on_start()
    prepared = False
    for step in steps:
        match step:
            case ("prepared",) if not prepared:
                prepared = True
                seen += execution.on_prepared()
            case ("started", rank):
                seen += execution.on_shell_started(rank)
            case ("exit", rank, status):
                seen += execution.on_shell_exit(rank, status)
            case ("lost", rank):
                seen += execution.on_shell_lost(rank, "gone")
            case ("exception", severity):
                seen += execution.on_exception(severity)
            case ("expired",):
                seen += execution.on_expired()
            case ("timer",) if execution.fatal:
                seen += execution.on_kill_timer()
    if not prepared:
        seen += execution.on_prepared()
    for rank in range(3):
        seen += execution.on_shell_exit(rank, 0)
    sent = [kind for kind in responses(seen) if kind != "exception"]
    assert sent in (["start", "finish", "release"], ["release"])
    assert responses(seen)[-1] == "release"
    assert seen.count(Seal()) == 1 and execution.over and not execution.active
    fatal = [a for a in seen if isinstance(a, Respond) and a.type == "exception" and a.data["severity"] == 0]
    assert len(fatal) <= 1


# -- barrier


class FakeMessage:
    def __init__(self, rank: int) -> None:
        self.rank = rank

    def respond(self, payload: Any = None, *, errnum: int = 0) -> tuple[int, int]:
        return self.rank, errnum


def enter(barrier: Barrier, rank: int, active: list[int], complete: bool = True) -> bool:
    return barrier.enter(rank, FakeMessage(rank), active, complete)  # type: ignore[arg-type]


def test_a_barrier_lets_all_go_together_and_can_be_used_again() -> None:
    sent: list[Any] = []
    barrier = Barrier(sent.append)
    for _ in range(2):
        assert not enter(barrier, 0, [0, 4]) and sent == []
        assert barrier.missing([0, 4]) == [4]
        assert enter(barrier, 4, [0, 4])
        assert sent == [(0, 0), (4, 0)]
        sent.clear()


def test_a_barrier_does_not_wait_for_the_dead() -> None:
    sent: list[Any] = []
    barrier = Barrier(sent.append)
    enter(barrier, 0, [0, 1, 2])
    barrier.fail()
    assert sent == [(0, 5)]
    with pytest.raises(FluxError, match="ended already"):
        enter(barrier, 0, [0, 1], complete=False)
    with pytest.raises(FluxError, match="rank 7 is not pending"):
        enter(barrier, 7, [0, 1])


# -- settings and test jobs


def test_settings_are_read_and_checked() -> None:
    table = {"kill-timeout": "10s", "max-kill-count": 2, "term-signal": "SIGINT", "job-shell": "/opt/shell"}
    assert read_settings(table) == Settings(
        kill_timeout=10.0, max_kill_count=2, term_signal=signal.SIGINT, job_shell="/opt/shell"
    )
    assert read_settings({"testexec": {"allow-guests": True}, "shell-exit-timeout": "none"}) == Settings(
        allow_guests=True, shell_exit_timeout=0.0
    )


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("kill-timeout", "soon", "soon"),
        ("max-kill-count", -1, ">= 0"),
        ("term-signal", "SIGFOO", "SIGFOO"),
        ("job-shell", 3, "name"),
        ("method", "magic", "bulk-exec or bgexec"),
        ("service", "sdexec", "not supported: rexec is"),
        ("imp", "/usr/libexec/flux/flux-imp", "not supported"),
        ("testexec", {"allow-guest": True}, "allow-guests"),
        ("max-start-delay-percent", "5", ">= 0"),
        ("kil-timeout", "5s", "did you mean kill-timeout"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(key: str, value: Any, message: str) -> None:
    with pytest.raises(FluxError, match=rf"\[exec\] {key}: .*{message}"):
        read_settings({key: value})


def test_a_test_plan_is_read_from_the_jobspec() -> None:
    assert read_plan({}) is None
    assert read_plan({"exec": {"test": {"run_duration": "100ms", "wait_status": 256}}}) == Plan(0.1, 256)
    assert read_plan({"duration": 5, "exec": {"test": {}}}) == Plan(5.0)
    with pytest.raises(FluxError, match=r"exec\.test"):
        read_plan({"exec": {"test": {"run_duration": []}}})
    with pytest.raises(FluxError, match="not an object"):
        read_plan({"exec": {"test": 3}})
