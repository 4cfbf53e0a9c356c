"""The KVS of a running instance against a model of plain dicts, by way of every rank (RFC 11, flux_kvs_lookup(3)).

Caches are dropped, brokers put under other parents and the instance restarted in between, which nobody may notice.
FLUX_TEST_MODEL sets the number of examples; they are then other ones each time.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from kvs_kit import STORE
from kvs_world import PRIMARY, SIZE, Transaction, World

from flux.constants import FLUX_KVS_READDIR, FLUX_KVS_READLINK, FLUX_KVS_TREEOBJ
from flux.testing import Instance

EXAMPLES = int(os.environ.get("FLUX_TEST_MODEL", "0"))

ranks = st.integers(0, SIZE - 1)
spaces = st.sampled_from("AB")
keys = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(".".join)
data = st.binary(max_size=4) | st.binary(min_size=50, max_size=60)
trees = st.recursive(data, lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=2), max_leaves=4)
operations = st.one_of(
    st.tuples(st.just("put"), keys, data),
    st.tuples(st.just("append"), keys, data.filter(bool)),
    st.tuples(st.just("unlink"), keys, st.none()),
    st.tuples(st.just("mkdir"), keys, st.builds(dict)),
    st.tuples(st.just("tree"), keys, trees),
    st.tuples(st.just("link"), keys, st.tuples(st.just("link"), keys)),
    st.tuples(st.just("link"), keys, st.tuples(st.just("link"), keys | st.just("."), spaces)),
)
flags = st.sampled_from([0, FLUX_KVS_READDIR, FLUX_KVS_READLINK, FLUX_KVS_TREEOBJ])


class StoreAgainstModel(RuleBasedStateMachine):
    """Each rule does one thing to the instance and to the model, and compares the two."""

    def __init__(self, running: Instance, primary: bool = False) -> None:
        super().__init__()
        self.world = World(running, PRIMARY if primary else "")

    @rule(rank=ranks, space=spaces, transaction=st.lists(operations, max_size=5), no_merge=st.booleans())
    def commit(self, rank: int, space: str, transaction: Transaction, no_merge: bool) -> None:
        self.world.commit(rank, space, transaction, no_merge)

    @rule(space=spaces, members=st.lists(ranks, min_size=1, max_size=6), value=data.filter(bool))
    def commit_together(self, space: str, members: list[int], value: bytes) -> None:
        self.world.commit_together(space, members, value)

    @rule(rank=ranks, text=data.filter(bool))
    def append_log(self, rank: int, text: bytes) -> None:
        self.world.append_log(rank, text)

    @rule(rank=ranks, whence=st.tuples(spaces, keys), whither=st.tuples(spaces, keys), move=st.booleans())
    def copy(self, rank: int, whence: tuple[str, str], whither: tuple[str, str], move: bool) -> None:
        self.world.copy(rank, whence, whither, move)

    @rule(rank=ranks, space=spaces, key=keys | st.just("."), flags=flags)
    def look_up(self, rank: int, space: str, key: str, flags: int) -> None:
        self.world.look_up(rank, space, key, flags)

    @rule(rank=ranks, space=spaces, which=st.integers(0, 20), key=keys, flags=flags)
    def look_back(self, rank: int, space: str, which: int, key: str, flags: int) -> None:
        self.world.look_back(rank, space, which, key, flags)

    @rule(rank=ranks)
    def begin_anew(self, rank: int) -> None:
        self.world.remove("B", rank)
        self.world.create("B")

    @rule(rank=ranks, service=st.sampled_from(["kvs", "content"]))
    def drop(self, rank: int, service: str) -> None:
        self.world.drop(rank, service)

    @rule(rank=st.integers(2, SIZE - 1), parent=st.integers(0, SIZE - 2))
    def reparent(self, rank: int, parent: int) -> None:
        self.world.reparent(rank, min(parent, rank - 1))

    def teardown(self) -> None:
        self.world.close()


class StoreWithRestarts(StoreAgainstModel):
    """The first namespace is the primary one, which outlasts the instance; the other is gone with it."""

    def __init__(self, running: Instance) -> None:
        super().__init__(running, primary=True)

    @rule()
    def restart(self) -> None:
        self.world.restart()


def run(machine: Any, examples: int, steps: int) -> None:
    limits = settings(
        max_examples=EXAMPLES or examples,
        stateful_step_count=steps,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=limits)


def chain(statedir: Path, **attrs: str) -> Instance:
    """Brokers in a chain, with a database that lasts."""
    given = {"tbon.fanout": "1", "statedir": str(statedir), **attrs}
    return Instance(SIZE, given, [*STORE, "--test-exit-mode=leader"])


@pytest.mark.timeout(3600 if EXAMPLES else 300)
def test_every_rank_reads_what_the_model_says(tmp_path: Path) -> None:
    with chain(tmp_path) as running:
        run(lambda: StoreAgainstModel(running), examples=20, steps=30)


@pytest.mark.timeout(3600 if EXAMPLES else 300)
def test_the_primary_namespace_is_the_same_after_restarts(tmp_path: Path) -> None:
    """Of directories that are stored in parts as soon as they have three entries."""
    with chain(tmp_path, **{"kvs.maxdirent": "2"}) as running:
        run(lambda: StoreWithRestarts(running), examples=2, steps=12)
