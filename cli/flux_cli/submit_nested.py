"""Jobs that are Flux instances: what flux-batch(1) and flux-alloc(1) have in common."""

from __future__ import annotations

import argparse

from flux.cli import values
from flux_cli import submit_options
from flux_cli.common import die
from flux_cli.errors import CommandError
from flux_cli.submit_jobspec import finish
from flux_cli.submit_options import JOB, optional_count, several, value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux_cli.submit_options import Option

__all__ = ["OPTIONS", "instance_jobspec"]

_DUMP = "flux-{{jobid}}-dump.tgz"

OPTIONS: list[Option] = [
    value("-n", "--nslots", metavar="N", help="number of slots (default: the number of nodes)"),
    value("-c", "--cores-per-slot", metavar="N", help="cores in each slot (default 1)"),
    value("-g", "--gpus-per-slot", metavar="N", help="GPUs in each slot"),
    *JOB,
    several("--conf", metavar="CONF", help="configuration of the instance: KEY=VAL, a file, text or a name"),
    several("--broker-opts", "--broker-opt", metavar="OPTS", help="options for the brokers of the instance"),
    value("--dump", nargs="?", const=_DUMP, metavar="FILE", help=f"dump the instance's KVS at its end ({_DUMP})"),
    value("--add-brokers", metavar="N", help=argparse.SUPPRESS),
]


def instance_jobspec(args: Any, program: list[str], files: dict[str, tuple[str, int]]) -> dict[str, Any]:
    """The jobspec of an instance, one broker on each node, that runs a program.

    Args:
        args: parsed options. program: may be empty.
        files: what the program finds in {{tmpdir}}: text and permissions by name.

    Raises:
        CommandError: naming the option that makes no sense.
    """
    shell: dict[str, Any] = {"per-resource": {"type": "node"}, "mpi": "none", "exit-timeout": "none"}
    resources = _resources(args)
    conf = _configuration(args.conf)
    task = {"command": _command(args, conf, program), "slot": "task", "count": {"per_slot": 1}}
    _add_brokers(args, conf, task, shell)
    spec = finish(args, resources, task, shell)
    system = spec["attributes"]["system"]
    if conf:
        values.add_file_entry(system, "conf.json", conf, None)
    for name, (text, perms) in files.items():
        values.add_file_entry(system, name, text, perms)
    return submit_options.extended(args, spec)


def _resources(args: Any) -> list[dict[str, Any]]:
    from flux.job._jobspec_build import slot_resources

    nodes = optional_count("--nodes", args.nodes)
    slots = optional_count("--nslots", args.nslots)
    if slots is None and nodes is None and not (args.resources_json or args.resources_shape):
        die("Number of slots to allocate must be specified: -n or -N")
    try:
        return slot_resources(
            slots or nodes or 1,
            optional_count("--cores-per-slot", args.cores_per_slot) or 1,
            optional_count("--gpus-per-slot", args.gpus_per_slot, 0),
            nodes,
            args.exclusive or (nodes is not None and slots is None),
        )
    except ValueError as exc:
        raise CommandError(str(exc)) from None


def _command(args: Any, conf: dict[str, Any], program: list[str]) -> list[str]:
    words = [word for opts in args.broker_opts for word in opts.split(",") if word]
    if args.dump:
        words.append(f"-Scontent.dump={args.dump}")
    if conf or args.add_brokers:
        words.append("-c{{tmpdir}}/conf.json")
    return ["flux", "broker", *words, *program]


def _add_brokers(args: Any, conf: dict[str, Any], task: dict[str, Any], shell: dict[str, Any]) -> None:
    """More brokers on the first node, which have no resources of their own; for tests of larger instances."""
    more = optional_count("--add-brokers", args.add_brokers)
    if not more:
        return
    nodes = optional_count("--nodes", args.nodes)
    if nodes is None:
        die("--add-brokers needs --nodes")
    resource = conf.setdefault("resource", {})
    resource["exclude"] = ",".join(filter(None, (resource.get("exclude"), f"1-{more}")))
    mapping = f"[[0,1,{1 + more},1],[1,{nodes - 1},1,1]]" if nodes > 1 else f"[[0,1,{1 + more},1]]"
    shell["taskmap"] = {"scheme": "manual", "value": mapping}
    task["count"] = {"total": nodes + more}
    del shell["per-resource"]


def _configuration(settings: Any) -> dict[str, Any]:
    if not settings:
        return {}
    from flux.job.batch_config import batch_config

    try:
        return batch_config(settings).config or {}
    except ValueError as exc:
        raise CommandError(str(exc)) from None
