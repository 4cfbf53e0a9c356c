"""What jobs did is in the archive after they have been purged (flux-config-archive(5))."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flux.errors import FluxError
from flux.job import JobID
from flux.testing import Instance, wait_for
from flux_plugins.job_archive.database import Database, Row
from flux_plugins.job_archive.settings import read_settings


def rows(path: Path) -> list[dict[str, Any]]:
    with sqlite3.connect(path) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute("SELECT * FROM jobs ORDER BY t_submit")]


def test_jobs_are_archived_before_and_after_the_module_is_loaded(
    instance: Callable[..., Instance], tmp_path: Path
) -> None:
    path = tmp_path / "jobs.sqlite"
    (tmp_path / "conf.toml").write_text(f'[archive]\ndbpath = "{path}"\nperiod = "50ms"\n')
    here = instance(1, args=[f"--config-path={tmp_path / 'conf.toml'}"])
    before = here.run("flux", "submit", "--wait", "true").stdout.strip()
    assert here.run("flux", "module", "load", "job-archive").returncode == 0
    after = here.run("flux", "submit", "--urgency=hold", "true").stdout.strip()
    here.run("flux", "cancel", after)
    wait_for(lambda: len(rows(path)) == 2, what="both jobs archived")
    first, second = rows(path)
    assert (first["id"], first["ranks"], first["userid"]) == (str(int(JobID(before))), "0", owner_of(here))
    assert 0 < first["t_submit"] <= first["t_run"] <= first["t_cleanup"] <= first["t_inactive"]
    assert json.loads(first["R"])["version"] == 1
    assert json.loads(first["jobspec"])["tasks"][0]["command"] == ["true"]
    assert first["eventlog"] == here.run("flux", "job", "info", before, "eventlog").stdout
    assert (second["ranks"], second["R"], second["t_run"]) == ("", "", 0.0)
    assert second["t_cleanup"] > 0
    assert here.run("flux", "job", "purge", "--force", "--num-limit=0").returncode == 0
    assert here.run("flux", "module", "reload", "job-archive").returncode == 0
    assert here.run("flux", "module", "reload", "job-manager").returncode == 0
    last = here.run("flux", "submit", "--wait", "true").stdout.strip()
    wait_for(lambda: rows(path)[-1]["id"] == str(int(JobID(last))), what="the last job archived")
    assert len(rows(path)) == 3
    stats = json.loads(here.run("flux", "module", "stats", "job-archive").stdout)
    assert (stats["archived"] > 0, stats["failures"]) == (True, 0)


def owner_of(here: Instance) -> int:
    return int(here.handle().attr_get("security.owner"))


def test_what_a_lock_keeps_from_being_written_is_written_later(tmp_path: Path) -> None:
    path = str(tmp_path / "jobs.sqlite")
    database = Database(path, 0.01)
    row = Row("1", 0, "0", 1.0, 2.0, 3.0, 4.0, "", "", "")
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(FluxError, match="locked"):
            database.add([row])
        other.execute("ROLLBACK")
    database.add([row, row])
    database.close()
    assert [found["id"] for found in rows(Path(path))] == ["1"]


@pytest.mark.parametrize("table", [{"dbpath": 3}, {"period": "soon"}, {"period": "0s"}, {"dpath": "/x"}])
def test_settings_that_make_no_sense_are_refused(table: dict[str, Any]) -> None:
    with pytest.raises(FluxError, match=r"\[archive\]"):
        read_settings(table)
