"""The broker's life cycle as a pure state machine: (state, event) to (state, what to do)."""

from __future__ import annotations

from enum import Enum, IntEnum, auto

__all__ = ["Action", "LifeCycle", "State", "TRANSITIONS"]


class State(IntEnum):
    """States with the numbers that `state-machine.monitor` sends."""

    LOAD_BUILTINS = 0
    JOIN = 1
    CONFIG_SYNC = 2
    INIT = 3
    QUORUM = 4
    RUN = 5
    CLEANUP = 6
    SHUTDOWN = 7
    FINALIZE = 8
    GOODBYE = 9
    UNLOAD_BUILTINS = 10
    EXIT = 11

    @property
    def label(self) -> str:
        return self.name.lower().replace("_", "-")


class Action(Enum):
    """What a driver does on entering a state; it answers with an event."""

    AWAIT_PARENT = auto()
    SYNC_CONFIG = auto()
    START_SERVICES = auto()
    AWAIT_QUORUM = auto()
    RUN_PROGRAM = auto()
    CLEAN_UP = auto()
    AWAIT_CHILDREN = auto()
    STOP_SERVICES = auto()
    SAY_GOODBYE = auto()
    UNLOAD = auto()
    EXIT = auto()


ON_ENTRY = {
    State.JOIN: Action.AWAIT_PARENT,
    State.CONFIG_SYNC: Action.SYNC_CONFIG,
    State.INIT: Action.START_SERVICES,
    State.QUORUM: Action.AWAIT_QUORUM,
    State.RUN: Action.RUN_PROGRAM,
    State.CLEANUP: Action.CLEAN_UP,
    State.SHUTDOWN: Action.AWAIT_CHILDREN,
    State.FINALIZE: Action.STOP_SERVICES,
    State.GOODBYE: Action.SAY_GOODBYE,
    State.UNLOAD_BUILTINS: Action.UNLOAD,
    State.EXIT: Action.EXIT,
}

TRANSITIONS: dict[State, dict[str, State]] = {
    State.LOAD_BUILTINS: {"builtins-success": State.JOIN, "builtins-fail": State.UNLOAD_BUILTINS},
    State.JOIN: {
        "parent-ready": State.CONFIG_SYNC,
        "parent-none": State.CONFIG_SYNC,
        "parent-fail": State.SHUTDOWN,
        "shutdown": State.SHUTDOWN,
    },
    State.CONFIG_SYNC: {
        "sync-success": State.INIT,
        "sync-none": State.INIT,
        "sync-fail": State.SHUTDOWN,
        "parent-fail": State.SHUTDOWN,
        "shutdown": State.SHUTDOWN,
    },
    State.INIT: {
        "rc1-success": State.QUORUM,
        "rc1-none": State.QUORUM,
        "rc1-ignorefail": State.QUORUM,
        "rc1-fail": State.SHUTDOWN,
        "panic": State.SHUTDOWN,
        "parent-fail": State.SHUTDOWN,
        "shutdown": State.SHUTDOWN,
    },
    State.QUORUM: {
        "quorum-full": State.RUN,
        "quorum-fail": State.SHUTDOWN,
        "panic": State.SHUTDOWN,
        "parent-fail": State.SHUTDOWN,
        "shutdown": State.SHUTDOWN,
    },
    State.RUN: {
        "rc2-success": State.CLEANUP,
        "rc2-fail": State.CLEANUP,
        "shutdown": State.CLEANUP,
        "parent-fail": State.CLEANUP,
        "panic": State.SHUTDOWN,
        "rc2-none": State.RUN,
    },
    State.CLEANUP: {
        "cleanup-success": State.SHUTDOWN,
        "cleanup-none": State.SHUTDOWN,
        "cleanup-fail": State.SHUTDOWN,
        "panic": State.SHUTDOWN,
    },
    State.SHUTDOWN: {"children-complete": State.FINALIZE, "children-none": State.FINALIZE},
    State.FINALIZE: {"rc3-success": State.GOODBYE, "rc3-none": State.GOODBYE, "rc3-fail": State.GOODBYE},
    State.GOODBYE: {"goodbye": State.UNLOAD_BUILTINS},
    State.UNLOAD_BUILTINS: {"builtins-done": State.EXIT, "builtins-unload-fail": State.EXIT},
    State.EXIT: {},
}

EVENTS = frozenset(event for events in TRANSITIONS.values() for event in events)


class LifeCycle:
    """Where one broker is in its life.

    Attributes:
        state: the current state.
        exit_code: what the broker will exit with; the first failure counts.
        norestart: the exit code that tells a supervisor not to start the broker again; 0 for none.
    """

    def __init__(self) -> None:
        self.state = State.LOAD_BUILTINS
        self.exit_code = 0
        self.norestart = 0

    def stay_down(self) -> None:
        """The instance is shut down on purpose: a supervisor that knows `norestart` shall leave it at that."""
        self.exit_code = self.exit_code or self.norestart

    def step(self, event: str, exit_code: int = 0) -> Action | None:
        """Take an event; gives what to do next, or None when the event does not matter in this state.

        Args:
            exit_code: of the initial program with rc2-fail, of a script with another failure; without one a failure
                of the broker counts as 1, or as `norestart` if it would only happen again.
        """
        following = TRANSITIONS[self.state].get(event)
        if following is None or following is self.state:
            if event == "rc2-fail" and self.exit_code == 0:  # a program that a shutdown ended
                self.exit_code = exit_code
            return None
        self.state = following
        if self.exit_code == 0:
            self.exit_code = self._exit_code(event, exit_code)
        return ON_ENTRY.get(following)

    def _exit_code(self, event: str, exit_code: int) -> int:
        if event == "rc1-ignorefail":
            return 0
        if event in HOPELESS and self.norestart:
            return self.norestart
        return exit_code or (1 if event in FAILURES else 0)


HOPELESS = frozenset({"builtins-fail", "rc1-fail", "panic"})
FAILURES = HOPELESS | {"parent-fail", "sync-fail", "quorum-fail", "cleanup-fail", "rc3-fail"}
