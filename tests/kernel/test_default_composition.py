"""The composition that comes with the program starts as it is."""

from __future__ import annotations

import tomllib
from pathlib import Path

from flux import discovery
from flux_kernel.composition import default_path, load_composition

PLANNED = ("bootstrap", "transports", "modules")


def test_the_default_has_no_problems() -> None:
    assert [str(problem) for problem in load_composition(default_path()).check()] == []


def test_every_builtin_plugin_is_named() -> None:
    document = tomllib.loads(Path(default_path()).read_text(encoding="utf-8"))
    installed = discovery.index()
    for kind in PLANNED:
        builtin = {entry.name for entry in installed.entries[kind].values() if entry.is_builtin}
        assert builtin <= set(document[kind])


def test_rank_0_runs_what_other_ranks_run_and_more() -> None:
    composition = load_composition(default_path())
    root = [plugin.name for plugin in composition.plan(0, 2)]
    leaf = [plugin.name for plugin in composition.plan(1, 2)]
    assert [name for name in root if name in leaf] == leaf
    assert {"job-manager", "content-sqlite", "sched-simple"} <= set(root) - set(leaf)
