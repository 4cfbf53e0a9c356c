"""`flux batch`: submit a script that runs in an instance of its own (flux-batch(1))."""

from __future__ import annotations

import argparse
import sys

from flux_cli import submit_options
from flux_cli.cmd.run import encode, print_jobspec
from flux_cli.common import Parser, die
from flux_cli.errors import CommandError, UsageError
from flux_cli.submit_nested import OPTIONS, instance_jobspec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_OUTPUT = "flux-{{id}}.out"
_BATCH = [*OPTIONS, submit_options.flag("--wrap", help="the words, or stdin, are commands for /bin/sh")]


def command(argv: list[str]) -> int:
    args = _parser(argv).parse_args(argv)
    if submit_options.wants_plugin_list(args):
        return 0
    submit_options.drop_double_dash(args.command)
    name, script = _script(args)
    args = _with_directives(args, argv, name, script)
    args.job_name = args.job_name or (args.command[0] if args.command else "batch")
    args.output = _OUTPUT if args.output is None else args.output
    args = submit_options.prepared(args)
    spec = instance_jobspec(args, ["{{tmpdir}}/script", *_arguments(args)], {"script": (script, 0o700)})
    if args.dry_run:
        print_jobspec(spec)
        return 0
    return _submit(spec, args)


def _parser(argv: list[str]) -> Parser:
    description = "Submit a script that runs in an instance of its own."
    return submit_options.make_parser("batch", description, _BATCH, argv, "[SCRIPT] [ARGS...]")


def _arguments(args: Any) -> list[str]:
    return [] if args.wrap else list(args.command[1:])


def _submit(spec: dict[str, Any], args: Any) -> int:
    urgency, flags = submit_options.parse_urgency(args.urgency), submit_options.job_flags(args)
    from flux.core.handle import Flux
    from flux.job.submit import submit_async

    with Flux() as handle:
        jobid = submit_async(handle, encode(spec), urgency, **flags).get_id()
    if not args.quiet:
        print(jobid)
    return 0


# -- the script


def _script(args: Any) -> tuple[str, str]:
    """Its name, for messages, and its text."""
    if args.wrap:
        return "stdin", f"#!/bin/sh\n{' '.join(args.command)}\n" if args.command else f"#!/bin/sh\n{_stdin()}"
    name = args.command[0] if args.command else "stdin"
    text = _read(name) if args.command else _stdin()
    if not text.startswith("#!"):
        die(f"{name} does not appear to start with '#!': a script names its interpreter there, or needs --wrap")
    return name, text if text.endswith("\n") else f"{text}\n"


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except UnicodeDecodeError:
        raise CommandError(f"{path} does not appear to be a script: it is not text in UTF-8") from None


def _stdin() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise CommandError("stdin does not appear to be a script: it is not text in UTF-8") from None


def _with_directives(args: argparse.Namespace, argv: list[str], name: str, script: str) -> argparse.Namespace:
    """The options of the script's directives, with those of the command line, which win, after them."""
    from flux_cli.directives import parse_directives

    try:
        directives = parse_directives(script)
    except ValueError as exc:
        raise CommandError(f"{name}: {exc}") from None
    words: list[str] = []
    for directive in directives:
        try:
            if _parser(directive.words).parse_args(directive.words).command:
                raise UsageError("a directive takes options alone")
        except CommandError as exc:
            raise CommandError(f"argument parsing failed at {name} line {directive.line}: {exc}", 2) from None
        words += directive.words
    if not words:
        return args
    both = [*words, *argv]
    args = _parser(both).parse_args(both)
    submit_options.drop_double_dash(args.command)
    return args
