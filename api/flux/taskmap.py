"""Task maps: which task rank runs on which node of a job (RFC 34; ``PMI_process_mapping`` of RFC 13).

A map is a list of blocks (nodeid, nnodes, ppn, repeat) and is never expanded to answer a question about
one task or one node.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from flux.idset import IDset

__all__ = ["Block", "TaskMap", "decode"]

MAX_TASKS = 1 << 24
"""Most tasks of a map, so that a damaged one is an error and no endless loop."""

_PMI = re.compile(r"\(vector((?:,\([0-9]+,[0-9]+,[0-9]+\))+)\)")
_PMI_BLOCK = re.compile(r"\(([0-9]{1,9}),([0-9]{1,9}),([0-9]{1,9})\)")


class Block(NamedTuple):
    """``repeat`` times: ``ppn`` tasks on each of the ``nnodes`` nodes from ``nodeid`` on."""

    nodeid: int
    nnodes: int
    ppn: int
    repeat: int

    @property
    def size(self) -> int:
        """The number of tasks."""
        return self.nnodes * self.ppn * self.repeat


class TaskMap:
    """A task map made of RFC 34 blocks.  No blocks: the mapping is unknown."""

    def __init__(self, blocks: Iterable[Sequence[int]] = ()) -> None:
        self._blocks = [_checked(block) for block in blocks]
        self._starts: list[int] = []
        self._size = 0
        for block in self._blocks:
            self._starts.append(self._size)
            self._size += block.size
        if self._size > MAX_TASKS:
            raise ValueError(f"taskmap: {self._size} tasks are more than {MAX_TASKS}")

    # --- make -----------------------------------------------------------------------------

    @classmethod
    def block(cls, counts: Sequence[int]) -> TaskMap:
        """Fill the nodes one after another; ``counts`` are the tasks of each node."""
        return cls._from_runs(enumerate(counts))

    @classmethod
    def cyclic(cls, counts: Sequence[int], stride: int = 1) -> TaskMap:
        """Deal ``stride`` tasks at a time to the nodes in turn, until each has its count."""
        if stride < 1:
            raise ValueError(f"taskmap: cyclic stride must be > 0, got {stride}")
        return cls._from_runs(
            (node, min(stride, count - dealt))
            for dealt in range(0, max(counts, default=0), stride)
            for node, count in enumerate(counts)
            if count > dealt
        )

    @classmethod
    def from_idsets(cls, nodes: Sequence[IDset]) -> TaskMap:
        """Make the map from the task ranks of each node, which must be 0 to N-1, each once."""
        ranges = sorted((lo, hi, node) for node, ids in enumerate(nodes) for lo, hi in ids.ranges())
        expected = 0
        for lo, hi, _ in ranges:
            if lo != expected:
                what = f"task {lo} is on two nodes" if lo < expected else f"task {expected} is on no node"
                raise ValueError(f"taskmap: {what}")
            expected = hi + 1
        return cls._from_runs((node, hi - lo + 1) for lo, hi, node in ranges)

    @classmethod
    def _from_runs(cls, runs: Iterable[tuple[int, int]]) -> TaskMap:
        """Make the map from (node, number of consecutive tasks) in task order."""
        spans: list[tuple[int, int, int]] = []
        for node, ppn in _joined(runs):
            if spans and node == spans[-1][0] + spans[-1][1] and ppn == spans[-1][2]:
                spans[-1] = (spans[-1][0], spans[-1][1] + 1, ppn)
            else:
                spans.append((node, 1, ppn))
        return cls((*span, sum(1 for _ in same)) for span, same in groupby(spans))

    # --- ask ------------------------------------------------------------------------------

    @property
    def blocks(self) -> list[Block]:
        """The RFC 34 map blocks."""
        return self._blocks.copy()

    @property
    def known(self) -> bool:
        """False when the mapping is unknown."""
        return bool(self._blocks)

    def ntasks(self) -> int:
        """The number of tasks."""
        return self._size

    def nnodes(self) -> int:
        """The number of nodes, counted up to the last that has a task."""
        return max((block.nodeid + block.nnodes for block in self._blocks), default=0)

    def nodeid(self, task: int) -> int:
        """The node of task rank ``task``; ValueError when there is no such task."""
        if not 0 <= task < self._size:
            raise ValueError(f"taskmap: no task {task}, there are {self._size}")
        i = bisect_right(self._starts, task) - 1
        block = self._blocks[i]
        return block.nodeid + (task - self._starts[i]) // block.ppn % block.nnodes

    def taskids(self, nodeid: int) -> IDset:
        """The task ranks on node ``nodeid``; empty when it has none."""
        ids = IDset()
        for start, block in zip(self._starts, self._blocks, strict=True):
            index = nodeid - block.nodeid
            if 0 <= index < block.nnodes:
                for turn in range(block.repeat):
                    first = start + (turn * block.nnodes + index) * block.ppn
                    ids.set(first, first + block.ppn - 1)
        return ids

    def counts(self) -> list[int]:
        """The number of tasks of each node."""
        counts = [0] * self.nnodes()
        for block in self._blocks:
            for node in range(block.nodeid, block.nodeid + block.nnodes):
                counts[node] += block.ppn * block.repeat
        return counts

    def __eq__(self, other: object) -> bool:
        return self._blocks == other._blocks if isinstance(other, TaskMap) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self._blocks))

    def __repr__(self) -> str:
        return f"TaskMap({self.encode()})"

    # --- text -----------------------------------------------------------------------------

    def encode(self) -> str:
        """The RFC 34 array as JSON, e.g. ``[[0,4,4,1]]``."""
        return json.dumps(self._blocks, separators=(",", ":"))

    def wrap(self) -> dict[str, Any]:
        """The RFC 34 object ``{"version": 1, "map": [...]}``."""
        return {"version": 1, "map": [list(block) for block in self._blocks]}

    def raw(self) -> str:
        """The task ranks of each node as idsets joined by semicolons, e.g. ``0-1;2-3``."""
        return ";".join(str(self.taskids(node)) for node in range(self.nnodes()))

    def pmi(self, max_length: int | None = None) -> str:
        """``PMI_process_mapping`` text, e.g. ``(vector,(0,4,4))``.

        Empty ("unknown", RFC 13) when the map is unknown or the text is longer than ``max_length``.
        """
        triples = (f"({b.nodeid},{b.nnodes},{b.ppn})" for b in self._blocks for _ in range(b.repeat))
        text = f"(vector,{','.join(triples)})" if self._blocks else ""
        return "" if max_length is not None and len(text) > max_length else text


def decode(taskmap: str | dict[str, Any] | Sequence[Sequence[int]]) -> TaskMap:
    """Return the map that a JSON array or object (or its text), PMI text or raw text stands for.

    ValueError when it is none of them.
    """
    if not isinstance(taskmap, str):
        return _from_json(taskmap)
    text = taskmap.strip()
    if text.startswith(("[[", "[]", "{")):
        return _from_json(_load(text))
    if text.startswith("("):
        return _from_pmi(text)
    return TaskMap.from_idsets([IDset(part) for part in text.split(";")] if text else [])


def _load(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as e:
        raise ValueError(f"taskmap: invalid JSON: {e}") from None


def _from_json(value: Any) -> TaskMap:
    if isinstance(value, dict):
        if value.get("version") != 1:
            raise ValueError(f"taskmap: expected version 1, got {value.get('version')!r}")
        value = value.get("map")
    if not isinstance(value, list | tuple):
        raise ValueError(f"taskmap: expected an array of blocks, got {value!r:.60}")
    return TaskMap(value)


def _from_pmi(text: str) -> TaskMap:
    match = _PMI.fullmatch(text.replace(" ", ""))
    if match is None:
        raise ValueError(f"taskmap: expected (vector,(nodeid,nnodes,ppn),...), got '{text:.60}'")
    triples = [tuple(map(int, block)) for block in _PMI_BLOCK.findall(match[1])]
    return TaskMap((*triple, sum(1 for _ in same)) for triple, same in groupby(triples))


def _checked(block: Any) -> Block:
    is_block = isinstance(block, list | tuple) and len(block) == 4
    if not is_block or not all(isinstance(n, int) and not isinstance(n, bool) for n in block):
        raise ValueError(f"taskmap: a block is [nodeid,nnodes,ppn,repeat], got {block!r:.60}")
    if block[0] < 0 or min(block[1:]) < 1:
        raise ValueError(f"taskmap: block {list(block)} needs nodeid >= 0 and the rest > 0")
    return Block(*block)


def _joined(runs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Join neighbouring runs of one node, leave out empty ones."""
    for node, same in groupby((run for run in runs if run[1] > 0), key=lambda run: run[0]):
        yield node, sum(count for _, count in same)
