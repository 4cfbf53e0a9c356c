"""`flux job explain`: why a job is where it is (flux-job(1))."""

from __future__ import annotations

import argparse
import json

from flux_cli.common import Parser, die, open_flux, print_json
from flux_cli.job_ids import parse_id

TYPE_CHECKING = False
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.core.handle import Flux


def explain_arguments(parser: Parser) -> None:
    parser.add_argument("id", type=parse_id, metavar="JOBID")
    parser.add_argument("--json", action="store_true", help="print an object with state and steps")


def explain(args: argparse.Namespace) -> int:
    from flux_cli.cmd.job_info import lookup
    from flux_cli.job_chain import chain

    with open_flux() as handle:
        events = [json.loads(line) for line in lookup(handle, args.id, "eventlog")["eventlog"].splitlines()]
        try:
            facts = handle.rpc("job-manager.explain", {"id": args.id}, nodeid=0).get()
        except FileNotFoundError:
            die(f"{args.id.orig}: the job has been purged")
        resources = _resources(handle) if facts["state"] == "SCHED" else {}
    steps = chain(events, facts, resources)
    if args.json:
        print_json({"id": int(args.id), "state": facts["state"], "steps": [step._asdict() for step in steps]})
        return 0
    print(f"{args.id.orig} is in {facts['state']}")
    for step in steps:
        print(step.line())
    return 0


def _resources(handle: Flux) -> dict[str, Any]:
    """Ranks of the instance's resources that are up for nobody: {total, down, excluded, drained: {ranks: reason}}."""
    from flux.idset import IDset
    from flux.resource import ResourceSet

    status = handle.rpc("resource.status", nodeid=0).get()
    drained = {ranks: info.get("reason", "") for ranks, info in status["drain"].items()}
    ranks = ResourceSet(status["R"]).ranks
    down = IDset(status["offline"]) & ranks
    return {"total": len(ranks), "down": str(down), "excluded": status["exclude"], "drained": drained}
