"""The broker's life cycle: an instance that does not end, or ends too early, is what users remember."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from flux_plugins.state_machine.machine import EVENTS, TRANSITIONS, Action, LifeCycle, State

HAPPY = {
    Action.AWAIT_PARENT: "parent-none",
    Action.SYNC_CONFIG: "sync-none",
    Action.START_SERVICES: "rc1-success",
    Action.AWAIT_QUORUM: "quorum-full",
    Action.RUN_PROGRAM: "rc2-success",
    Action.CLEAN_UP: "cleanup-success",
    Action.AWAIT_CHILDREN: "children-complete",
    Action.STOP_SERVICES: "rc3-success",
    Action.SAY_GOODBYE: "goodbye",
    Action.UNLOAD: "builtins-done",
}


def drive(first: str, answers: dict[Action, str], exit_code: int = 0) -> tuple[LifeCycle, list[State]]:
    """Answer each action by its event until the machine is done; gives the states it went through."""
    life, seen = LifeCycle(), []
    event: str | None = first
    while event is not None:
        action = life.step(event, exit_code if event.startswith("rc2") else 0)
        seen.append(life.state)
        event = None if action is None else answers.get(action)
    return life, seen


def test_an_instance_goes_through_all_states_in_order() -> None:
    life, seen = drive("builtins-success", HAPPY)
    assert seen == list(State)[1:]
    assert life.exit_code == 0


def test_exit_code_is_the_initial_programs() -> None:
    life, _ = drive("builtins-success", {**HAPPY, Action.RUN_PROGRAM: "rc2-fail"}, exit_code=3)
    assert (life.state, life.exit_code) == (State.EXIT, 3)


def test_services_that_do_not_start_end_the_broker_with_1() -> None:
    life, seen = drive("builtins-success", {**HAPPY, Action.START_SERVICES: "rc1-fail"})
    assert (life.state, life.exit_code) == (State.EXIT, 1)
    assert State.RUN not in seen


@given(st.lists(st.sampled_from(sorted(EVENTS)), max_size=30))
def test_no_order_of_events_goes_backwards(events: list[str]) -> None:
    life = LifeCycle()
    for event in events:
        before = life.state
        action = life.step(event)
        assert life.state >= before
        assert (action is not None) == (life.state is not before)


def test_exit_can_be_reached_from_every_state() -> None:
    for start in State:
        queue, seen = deque([start]), {start}
        while queue:
            for following in TRANSITIONS[queue.popleft()].values():
                if following not in seen:
                    seen.add(following)
                    queue.append(following)
        assert State.EXIT in seen
