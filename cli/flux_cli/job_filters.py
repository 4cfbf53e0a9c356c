"""What `flux job-validator` and `flux job-frobnicator` have in common: jobs on stdin, answers on stdout."""

from __future__ import annotations

import json
import os
import sys

from flux_cli.common import Parser, die
from flux_cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ["answer_each"]

_KEYS = ("jobspec", "userid", "urgency", "flags")


def answer_each(name: str, description: str, kind: Any, argv: list[str], answer: Callable[..., tuple[str, int]]) -> int:
    """A whole command: with each job on stdin, a line on stdout.

    Args:
        kind: class of the stack of plugins.
        answer: called with the stack and what is known of a job (RFC 14 jobspec, userid, urgency, flags); gives the
            line and the exit code that it means.

    Returns:
        The first exit code that is not 0.
    """
    stack = _start(name, description, kind, argv)
    if stack.args.list_plugins:
        return _list_plugins(stack)
    code = 0
    for info in _stdin_objects(stack.args.jobspec_only):
        line, wrong = answer(stack, info)
        code = code or wrong
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    return code


def _start(name: str, description: str, kind: Any, argv: list[str]) -> Any:
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


def _list_plugins(stack: Any) -> int:
    """Print what is installed."""
    print("Available plugins:")
    for name, text in stack.available().items():
        print(f"{name:<20}  {text}")
    return 0


def _stdin_objects(jobspec_only: bool) -> Iterator[dict[str, Any]]:
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
