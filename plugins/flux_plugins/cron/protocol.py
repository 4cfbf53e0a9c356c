"""Requests of the cron service as types. All are the instance owner's alone."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

__all__ = ["CreateRequest", "DeleteRequest", "IdRequest", "SyncRequest"]


class CreateRequest(Struct, rename="kebab"):
    """What to run, and when.

    Attributes:
        type: "interval", "event" or "datetime".
        args: of the type: {interval, after?}, {topic, nth?, after?, min_interval?}, or the fields of a date.
        command: a line for sh -c.
        environ: its whole environment; None for the broker's.
        cwd: its working directory; None for the broker's.
        repeat: number of runs, 0 for any.
        rank: broker rank to run it on.
        task_history_count: finished runs to remember.
        stop_on_failure: stop after that many failures, 0 for never.
        timeout: seconds that a run may take, 0 for any.
    """

    type: str
    name: str
    command: str
    args: dict[str, Any]
    environ: dict[str, str] | None = None
    cwd: str | None = None
    repeat: int = 0
    rank: int = 0
    task_history_count: int = 1
    stop_on_failure: int = 0
    timeout: float = 0.0


class IdRequest(Struct):
    id: int


class DeleteRequest(Struct):
    id: int
    kill: bool = False


class SyncRequest(Struct):
    """topic: event to run commands by. sync_epsilon: seconds after it that still count as in time."""

    topic: str | None = None
    disable: bool = False
    sync_epsilon: float | None = None
