"""`flux multi-prog`: each task of a job runs a program of its own (flux-multi-prog(1))."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from typing import NamedTuple

from flux.idset import IDset
from flux_cli.common import Parser, die


class _Program(NamedTuple):
    ranks: IDset | None  # None: those of no other line
    words: list[str]

    def command_line(self, rank: int) -> list[str]:
        """The words for a task, with %t and %o filled in."""
        offset = 0 if self.ranks is None else sum(1 for other in self.ranks if other < rank)
        tokens = {"%t": str(rank), "%o": str(offset)}
        return [re.sub("%[to]", lambda token: tokens[token[0]], word) for word in self.words]


def command(argv: list[str]) -> int:
    parser = Parser(
        "multi-prog", "Run the program that a file names for this task.", usage="flux multi-prog [OPTIONS] CONFIG"
    )
    parser.add_argument(
        "-n", "--dry-run", type=_ranks, metavar="IDS", help="show what the tasks with these ranks would run"
    )
    parser.add_argument("conf", metavar="CONFIG", help="lines of task ranks and a command line")
    args = parser.parse_args(argv)
    programs = _read(args.conf)
    if args.dry_run is not None:
        for rank in args.dry_run:
            print(f"{rank}: {shlex.join(_choose(programs, rank, args.conf).command_line(rank))}")
        return 0
    rank = _own_rank()
    words = _choose(programs, rank, args.conf).command_line(rank)
    try:
        os.execvp(words[0], words)
    except OSError as e:
        die(f"{words[0]}: {os.strerror(e.errno or 0)}")


def _ranks(text: str) -> IDset:
    try:
        return IDset(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no idset such as 0-3,7") from None


def _own_rank() -> int:
    text = os.environ.get("FLUX_TASK_RANK", "")
    if not text.isdecimal():
        die("FLUX_TASK_RANK is not set: the tasks of a job run this; to look at a file, use --dry-run")
    return int(text)


def _read(path: str) -> list[_Program]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:  # arguments are bytes
            lines = file.readlines()
    except OSError as e:
        die(f"{path}: {e.strerror}")
    parsed = (_parse(line, f"{path}: line {number}") for number, line in enumerate(lines, 1))
    return [program for program in parsed if program is not None]


def _parse(line: str, place: str) -> _Program | None:
    """What a line says; None for one without a command line."""
    try:
        targets, *words = shlex.split(line, comments=True) or [""]
    except ValueError as e:
        die(f"{place}: '{line.strip()}': {e}")
    if not words:
        return None
    if targets == "*":
        return _Program(None, words)
    try:
        return _Program(IDset(targets), words)
    except ValueError:
        die(f"{place}: invalid idset: {targets}")


def _choose(programs: list[_Program], rank: int, path: str) -> _Program:
    """The program of a task: the first line with its rank, or else the last line of the others."""
    named = (program for program in programs if program.ranks is not None and rank in program.ranks)
    rest = (program for program in reversed(programs) if program.ranks is None)
    found = next(named, None) or next(rest, None)
    return found or die(f"{path}: No matching line for rank {rank}")
