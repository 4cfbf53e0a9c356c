"""Process tables of jobs, as parallel debuggers want them (MPIR), in the compressed form that job shells answer with.

A table is an object of five lists of one length: task ranks (``ids``), process ids, hosts, executables, and the
shell's rank (``ranks``). Integers are lists of entries: a number is the difference to the last number before it (0 at
the start); ``[difference, n]`` goes on with the n numbers after it, or, with n < 0, repeats it that often; a third
element repeats the whole entry. Names are lists of names, or of ``[prefix, integers]``, where -1 is no suffix.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, NamedTuple

__all__ = ["Process", "decode", "decode_integers", "decode_names", "encode", "encode_integers", "encode_names"]

MAX_TASKS = 1 << 24
"""Most entries of a list, so that a damaged one is an error and no endless loop."""

_SUFFIX = re.compile(r"(.*?)(0|[1-9][0-9]{0,17})?", re.DOTALL)


class Process(NamedTuple):
    """One task: its rank in the job, its process, and the rank of the shell that started it."""

    taskid: int
    host: str
    pid: int
    executable: str
    shell_rank: int


def encode(processes: Iterable[Process]) -> dict[str, Any]:
    """The table of processes."""
    rows = list(processes)
    return {
        "hosts": encode_names([row.host for row in rows]),
        "executables": encode_names([row.executable for row in rows]),
        "ids": encode_integers([row.taskid for row in rows]),
        "pids": encode_integers([row.pid for row in rows]),
        "ranks": encode_integers([row.shell_rank for row in rows]),
    }


def decode(table: dict[str, Any]) -> list[Process]:
    """The processes of a table, by task rank. ValueError when it is malformed."""
    try:
        columns = zip(
            decode_integers(table["ids"]),
            decode_names(table["hosts"]),
            decode_integers(table["pids"]),
            decode_names(table["executables"]),
            decode_integers(table["ranks"]),
            strict=True,
        )
        return sorted(Process(*row) for row in columns)
    except (KeyError, TypeError) as exc:
        raise ValueError(f"malformed process table: {exc}") from None


# -- integers


def encode_integers(numbers: Iterable[int]) -> list[Any]:
    """Numbers as a list of differences and runs."""
    entries: list[Any] = []
    last = 0
    for first, size, step in _runs(numbers):
        entries.append(first - last if size == 1 else [first - last, (size - 1) * (step or -1)])
        last = first + (size - 1) * step
    return entries


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int, int]]:
    """(first, size, step) of runs of equal or consecutive numbers; step 0 or 1."""
    run: tuple[int, int, int] | None = None
    for number in numbers:
        if run is not None:
            first, size, step = run
            difference = number - (first + (size - 1) * step)
            if difference == step or (size == 1 and difference in (0, 1)):
                run = (first, size + 1, difference)
                continue
            yield run
        run = (number, 1, 0)
    if run is not None:
        yield run


def decode_integers(entries: Any) -> list[int]:
    """The numbers of a list of differences and runs. ValueError when it is malformed."""
    numbers: list[int] = []
    for entry in entries:
        difference, count, repeats = _parts(entry)
        if len(numbers) + (abs(count) + 1) * (repeats + 1) > MAX_TASKS:
            raise ValueError(f"more than {MAX_TASKS} numbers")
        for _ in range(repeats + 1):
            first = difference + (numbers[-1] if numbers else 0)
            numbers += [first] * (1 - count) if count < 0 else range(first, first + count + 1)
    return numbers


def _parts(entry: Any) -> tuple[int, int, int]:
    parts = entry if isinstance(entry, list) else [entry]
    if not 1 <= len(parts) <= 3 or not all(type(part) is int for part in parts) or (len(parts) == 3 and parts[2] < 0):
        raise ValueError(f"expected a number, or [difference, count, repeats], got {entry!r:.60}")
    return (*parts, 0, 0)[:3]


# -- names


def encode_names(names: Iterable[str]) -> list[Any]:
    """Names as prefixes and numeric suffixes."""
    entries: list[Any] = []
    for prefix, group in groupby(map(_split, names), key=lambda split: split[0]):
        suffixes = [suffix for _, suffix in group]
        single = f"{prefix}{suffixes[0] if suffixes[0] >= 0 else ''}"
        entries.append(single if len(suffixes) == 1 else [prefix, encode_integers(suffixes)])
    return entries


def _split(name: str) -> tuple[str, int]:
    match = _SUFFIX.fullmatch(name)
    assert match is not None
    return match[1], -1 if match[2] is None else int(match[2])


def decode_names(entries: Any) -> list[str]:
    """The names of a list of prefixes and suffixes. ValueError when it is malformed."""
    names: list[str] = []
    for entry in entries:
        if isinstance(entry, str):
            names.append(entry)
        elif isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str):
            names += [f"{entry[0]}{suffix if suffix >= 0 else ''}" for suffix in decode_integers(entry[1])]
        else:
            raise ValueError(f"expected a name or [prefix, suffixes], got {entry!r:.60}")
    return names
