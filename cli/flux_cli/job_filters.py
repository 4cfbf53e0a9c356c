"""What `flux job-validator` and `flux job-frobnicator` have in common: jobs on stdin, answers on stdout."""

from __future__ import annotations

import json
import os
import sys

from flux_cli.common import Parser, die
from flux_cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["list_plugins", "start", "stdin_objects"]

_KEYS = ("jobspec", "userid", "urgency", "flags")


def start(name: str, description: str, kind: Any, argv: list[str]) -> Any:
    """A stack of plugins, started unless they are only to be listed."""
    parser = Parser(name, description, add_help=False, allow_abbrev=False)
    parser.add_argument("--jobspec-only", action="store_true", help="lines are jobspecs, nothing around them")
    parser.add_argument("--list-plugins", action="store_true", help="list what is installed")
    stack = kind(argv, parser=parser)
    if stack.args.list_plugins:
        return stack
    parser.add_argument("-h", "--help", action="help", help="show this")
    wants_help = bool({"-h", "--help"} & set(argv))
    try:
        stack.start({} if wants_help else None)
    except ValueError as exc:
        raise CommandError(str(exc)) from None
    return stack


def list_plugins(stack: Any) -> int:
    """Print what is installed."""
    print("Available plugins:")
    for name, text in stack.available().items():
        print(f"{name:<20}  {text}")
    return 0


def stdin_objects(jobspec_only: bool) -> Iterator[dict[str, Any]]:
    """The jobs on stdin, as validators and frobnicators are told of them. CommandError for what is none."""
    for line in sys.stdin.buffer:
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except ValueError as exc:
            raise CommandError(f"input is not JSON: {exc}") from None
        if jobspec_only:
            yield {"jobspec": found, "userid": os.getuid(), "urgency": 16, "flags": 0}
        elif isinstance(found, dict) and set(_KEYS) <= found.keys():
            yield found
        else:
            die(f"Missing keys in input, which are {', '.join(_KEYS)}. Did you mean to use --jobspec-only?")
