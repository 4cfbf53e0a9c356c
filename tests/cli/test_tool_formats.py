"""Formats and hidden queues of `flux-resource.toml` and `flux-queue.toml`, the site's and the user's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from flux.testing import Instance

HOST = os.uname().nodename.partition(".")[0]
CONFIG = f"""
[queues.batch]
requires = ["batch"]
[queues.all]
[resource]
noverify = true
[[resource.config]]
hosts = "{HOST}"
cores = "0"
properties = ["batch", "big"]
"""


@pytest.fixture(scope="module")
def instance(flux_instance: Callable[..., Instance], tmp_path_factory: Any) -> Instance:
    file = tmp_path_factory.mktemp("queues") / "conf.toml"
    file.write_text(CONFIG)
    return flux_instance(1, args=[f"--config-path={file}"])


@pytest.fixture
def run(instance: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., CompletedProcess[str]]:
    """Run a flux command; the site's files are in tmp_path/site/flux, the user's in tmp_path/user/flux."""
    for variable, folder in (("XDG_CONFIG_DIRS", "site"), ("XDG_CONFIG_HOME", "user")):
        (tmp_path / folder / "flux").mkdir(parents=True)
        monkeypatch.setitem(instance.env, variable, str(tmp_path / folder))
    return lambda *words, **options: instance.run("flux", *words, **options)


Run = Callable[..., CompletedProcess[str]]


def test_the_users_file_wins_over_the_sites(run: Run, tmp_path: Path) -> None:
    site, user = (tmp_path / name / "flux/flux-resource.toml" for name in ("site", "user"))
    site.write_text('[list.formats]\nmine.format = "site"\nours.format = "{nnodes} of the site"\n')
    user.write_text('[list.formats.mine]\ndescription = "My own"\nformat = "{state}: {queue}"\n')
    assert run("resource", "list", "-s", "free", "-no", "mine").stdout == "free: batch,all\n"
    assert run("resource", "list", "-s", "free", "-no", "ours").stdout == "1 of the site\n"
    assert "  mine         My own\n" in run("resource", "list", "-o", "help").stdout
    assert run("resource", "list", "-o", "get-config=mine").stdout == (
        '[list.formats.mine]\ndescription = "My own"\nformat = "{state}: {queue}"\n'
    )
    assert "No such format mine" in run("resource", "status", "-o", "mine").stderr


def test_a_queue_is_hidden_until_it_is_asked_for(run: Run, tmp_path: Path) -> None:
    def queues(*words: str) -> list[str]:
        return run("resource", "list", "-no", "{state} {queue}", *words).stdout.splitlines()

    everything = ["free batch,all", "allocated batch", "allocated all", "down batch", "down all"]
    assert queues() == everything
    (tmp_path / "site/flux/flux-resource.toml").write_text('list.hidden-queues = ["all"]\n')
    assert queues() == ["free batch", "allocated batch", "down batch"]
    assert queues("-q", "all") == ["free all", "allocated all", "down all"]
    assert run("resource", "list", "-no", "{state} {propertiesx}", "-s", "free").stdout == "free big\n"


def test_formats_of_queues_and_the_default_one(run: Run, tmp_path: Path) -> None:
    (tmp_path / "user/flux/flux-queue.toml").write_text('list.formats.short.format = "{queue}/{enabled.ascii}"\n')
    assert run("queue", "list", "-no", "short").stdout == "batch/y\nall/y\n"
    (tmp_path / "user/flux/flux-housekeeping.toml").write_text('formats.short.format = "{id} {nodelist}"\n')
    assert run("housekeeping", "list", "-o", "short").stdout == "JOBID NODELIST\n"
    for tool in ("resource", "queue"):
        environment = {f"FLUX_{tool.upper()}_LIST_FORMAT_DEFAULT": "{queue}!"}
        assert run(tool, "list", "-n", env=environment).stdout.splitlines()[0].endswith("!")


@pytest.mark.parametrize(
    ("tool", "text", "message"),
    [
        ("resource", 'list.formats.default.format = "x"', "override of builtin format 'default' not permitted"),
        ("resource", "list.colour = 1", "invalid key list.colour"),
        ("resource", "formats.a.format = 'x'", "invalid key formats"),
        ("resource", "list.formats.a.description = 'x'", "list.formats.a: required key 'format' missing"),
        ("resource", "list.hidden-queues = 'all'", "list.hidden-queues must be a list of strings"),
        ("resource", "list = 1", "list must be a mapping"),
        ("queue", "status.formats.a.format = 'x'", "invalid key status"),
        ("queue", "list.formats = [", "flux-queue.toml"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(run: Run, tmp_path: Path, tool: str, text: str, message: str) -> None:
    file = tmp_path / f"user/flux/flux-{tool}.toml"
    file.write_text(text)
    done = run(tool, "list")
    assert (done.returncode, message in done.stderr, str(file) in done.stderr) == (1, True, True), done.stderr
    assert "Traceback" not in done.stderr
