"""`flux job`: what can be done with a job (flux-job(1)). Each COMMAND loads only the file it is in."""

from __future__ import annotations

from importlib import import_module

from flux_cli.common import Action, Parser, dispatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def command(argv: list[str]) -> int:
    return dispatch("job", "Work with jobs.", ACTIONS, argv)


def _action(module: str, name: str, help: str) -> Action:
    def run(args: Any) -> int:
        return int(getattr(import_module(f"flux_cli.cmd.{module}"), name)(args))

    def add_arguments(parser: Parser) -> None:
        getattr(import_module(f"flux_cli.cmd.{module}"), f"{name}_arguments")(parser)

    return Action(run, help, add_arguments)


ACTIONS = {
    "attach": _action("job_attach", "attach", "follow a job: show its output, feed its stdin"),
    "cancel": _action("job_raise", "cancel", "cancel a job"),
    "cancelall": _action("job_raise", "cancelall", "cancel many jobs"),
    "eventlog": _action("job_events", "eventlog", "show the events of a job"),
    "id": _action("job_info", "id_", "convert job ids between encodings"),
    "info": _action("job_info", "info", "print what is stored of a job: jobspec, R, J, eventlog"),
    "kill": _action("job_raise", "kill", "send a signal to a running job"),
    "killall": _action("job_raise", "killall", "send a signal to many running jobs"),
    "list-ids": _action("job_info", "list_ids", "print jobs by id as JSON"),
    "raise": _action("job_raise", "raise_", "raise an exception on a job"),
    "raiseall": _action("job_raise", "raiseall", "raise an exception on many jobs"),
    "status": _action("job_status", "status", "wait for jobs and exit with their exit code"),
    "urgency": _action("job_raise", "urgency", "change the urgency of a job"),
    "wait": _action("job_status", "wait", "wait for a job that was submitted as waitable"),
    "wait-event": _action("job_events", "wait_event", "wait for an event of a job"),
}
