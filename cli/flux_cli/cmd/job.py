"""`flux job`: what can be done with a job (flux-job(1)). Each COMMAND loads only the file it is in."""

from __future__ import annotations

from importlib import import_module

from flux_cli.common import Action, Parser, dispatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def command(argv: list[str]) -> int:
    if argv and argv[0] in ("cancel", "raise"):
        from flux_cli.cmd.job_raise import message_as_option

        argv = message_as_option(argv)
    elif argv and argv[0] == "attach":
        # its number is given with "=" or not at all: what follows is the job
        argv = ["--tail=10" if word == "--tail" else word for word in argv]
    return dispatch("job", "Work with jobs.", ACTIONS, argv)


def _action(module: str, name: str, help: str) -> Action:
    def run(args: Any) -> int:
        return int(getattr(import_module(f"flux_cli.cmd.{module}"), name)(args))

    def add_arguments(parser: Parser) -> None:
        getattr(import_module(f"flux_cli.cmd.{module}"), f"{name}_arguments")(parser)

    return Action(run, help, add_arguments)


ACTIONS = {
    "attach": _action("job_attach", "attach", "follow a job: show its output, feed its stdin"),
    "cancel": _action("job_raise", "cancel", "cancel jobs"),
    "cancelall": _action("job_raise", "cancelall", "cancel many jobs"),
    "eventlog": _action("job_events", "eventlog", "show the events of a job"),
    "explain": _action("job_explain", "explain", "say why a job is where it is"),
    "hostpids": _action("job_tasks", "hostpids", "print host and process id of a job's tasks"),
    "id": _action("job_info", "id_", "convert job ids between encodings"),
    "info": _action("job_info", "info", "print what is stored of a job: jobspec, R, J, eventlog"),
    "kill": _action("job_raise", "kill", "send a signal to running jobs"),
    "killall": _action("job_raise", "killall", "send a signal to many running jobs"),
    "last": _action("job_list", "last", "print the ids of the jobs that were submitted last"),
    "list": _action("job_list", "list_", "print jobs as JSON"),
    "list-ids": _action("job_list", "list_ids", "print jobs by id as JSON"),
    "list-inactive": _action("job_list", "list_inactive", "print inactive jobs as JSON"),
    "memo": _action("job_manage", "memo", "add key=value pairs to the annotations of a job"),
    "namespace": _action("job_manage", "namespace", "print the names of jobs' KVS namespaces"),
    "purge": _action("job_manage", "purge", "remove inactive jobs, the oldest first"),
    "raise": _action("job_raise", "raise_", "raise an exception on jobs"),
    "raiseall": _action("job_raise", "raiseall", "raise an exception on many jobs"),
    "stats": _action("job_list", "stats", "print the number of jobs by state and result"),
    "status": _action("job_status", "status", "wait for jobs and exit with their exit code"),
    "submit": _action("job_manage", "submit", "submit a jobspec"),
    "taskmap": _action("job_tasks", "taskmap", "show or convert the map of a job's tasks to nodes"),
    "timeleft": _action("job_manage", "timeleft", "print how long a job may still run"),
    "urgency": _action("job_raise", "urgency", "change the urgency of a job"),
    "wait": _action("job_status", "wait", "wait for a job that was submitted as waitable"),
    "wait-event": _action("job_events", "wait_event", "wait for an event of a job"),
}
