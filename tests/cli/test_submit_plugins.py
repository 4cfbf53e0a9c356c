"""Plugins of the commands that submit jobs (flux-submit(1), PLUGINS); what they do to a job is in the guide's test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flux.cli.plugin import CLIPluginRegistry
from flux.errors import FluxError
from flux.job import JobspecV1, submit
from flux.testing import Instance

PLUGIN = '''
from flux.cli.plugin import CLIPlugin

class Mode(CLIPlugin):
    """All about modes."""

    def __init__(self, prog):
        super().__init__(prog, prefix="site", version="1.0")
        self.add_option("--mode", metavar="MODE", help="the mode")
        if prog == "batch":
            self.add_option("--fast", action="store_true")

    def preinit(self, args):
        if args.mode == "wide":
            args.nodes = (args.nodes or 1) * 2
        if getattr(args, "site_fast", False):
            args.conf.update("fast.x=1")

    def modify_jobspec(self, args, jobspec):
        if args.mode:
            jobspec.setattr("mode", args.mode)

    def validate(self, jobspec):
        if jobspec.attributes["system"].get("mode") == "bad":
            raise ValueError("there is no mode bad")
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of plugins with one, first in the search path."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "mode.py").write_text(PLUGIN)
    monkeypatch.setenv("FLUX_CLI_PLUGINPATH", str(folder))
    return folder


def flux(*words: str, code: int = 0) -> str:
    """What a command prints, on stderr when it fails."""
    result = subprocess.run(
        [sys.executable, "-m", "flux_cli.main", *words], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == code, result.stderr
    return result.stderr if code else result.stdout


def jobspec(*words: str) -> Any:
    return json.loads(flux(*words))


def test_options_reach_the_jobspec(folder: Path) -> None:
    spec = jobspec("submit", "--dry-run", "-N2", "--site-mode=wide", "true", "--site-mode=mine")
    assert spec["attributes"]["system"]["mode"] == "wide"
    assert spec["resources"][0]["count"] == 4
    assert spec["tasks"][0]["command"] == ["true", "--site-mode=mine"]


def test_options_in_a_batch_script(folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    script.write_text("#!/bin/sh\n# flux: --site-mode={{id}} --site-fast\ntrue\n")
    system = jobspec("batch", "-n1", "--dry-run", str(script))["attributes"]["system"]
    assert (system["mode"], system["files"]["conf.json"]["data"]) == ("{{id}}", {"fast": {"x": 1}})


def test_each_copy_is_prepared_for_itself(folder: Path) -> None:
    lines = flux("submit", "--dry-run", "-N1", "--cc=0-2", "--site-mode=wide", "cmd", "{cc}").splitlines()
    assert [json.loads(line)["resources"][0]["count"] for line in lines] == [2, 2, 2]


def test_what_plugins_say(folder: Path) -> None:
    assert f"Mode loaded from {folder}/mode.py\n  --site-mode           the mode\n" in flux("run", "--list-plugins")
    assert flux("alloc", "--help=site-mode") == "All about modes.\n"
    assert "--site-mode MODE" in flux("bulksubmit", "--help")
    assert "there is no mode bad" in flux("submit", "--dry-run", "--site-mode=bad", "true", code=1)


def test_python_programs_have_the_same_options(folder: Path) -> None:
    made = JobspecV1.from_submit(["true"], ntasks=2, nodes=1, site_mode="wide")
    assert (made.getattr("mode"), made.resource_counts()["node"]) == ("wide", 2)
    assert made.apply_options(prog="run", site_mode="other").getattr("mode") == "other"
    assert [(option.name, option.dest) for option in CLIPluginRegistry("submit").options] == [
        ("--site-mode", "site_mode")
    ]
    with pytest.raises(ValueError, match="no mode bad"):
        JobspecV1.from_submit(["true"], site_mode="bad")
    with pytest.raises(TypeError, match="mode"):
        JobspecV1.from_submit(["true"], mode="wide")


def test_the_first_plugin_with_an_option_counts(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.py").write_text(PLUGIN.replace("the mode", "another mode"))
    monkeypatch.setenv("FLUX_CLI_PLUGINPATH", f"{folder}:{tmp_path}/none:{other}")
    assert [option.kwargs["help"] for option in CLIPluginRegistry("run").options] == ["the mode"]
    monkeypatch.setenv("FLUX_CLI_PLUGINPATH_OVERRIDE", "")
    assert CLIPluginRegistry("run").plugins == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_of_the_kind\n", "broken.py:1:"),
        ("def f(:\n", "SyntaxError"),
        (PLUGIN.replace('"--mode"', '"-m"').replace('"site"', '"b"'), "long one"),
        (PLUGIN.replace('"--mode"', '"--dry-run"').replace('"site"', "None"), "--dry-run"),
        (PLUGIN.replace('"site"', '"b"').replace("args.mode:", "args.nothing:"), "broken.py: AttributeError"),
    ],
    ids=["import", "syntax", "short", "clash", "callback"],
)
def test_a_broken_plugin_is_named(text: str, message: str, folder: Path) -> None:
    (folder / "broken.py").write_text(text)
    assert message in flux("submit", "--dry-run", "true", code=1)


def test_the_instance_asks_plugins_too(folder: Path) -> None:
    with Instance(1) as instance:
        wrong = JobspecV1.from_command(["true"])
        wrong.setattr("mode", "bad")
        with pytest.raises(FluxError, match="there is no mode bad"):
            submit(instance.handle(), wrong)


def test_a_plugin_of_a_distribution(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "site" / "site_mode-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: site-mode\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[flux.cli]\nmode = site_mode:Mode\n")
    (tmp_path / "site" / "site_mode.py").write_text(PLUGIN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert str(folder) in flux("submit", "--list-plugins")  # of two, the one in a file counts
    monkeypatch.delenv("FLUX_CLI_PLUGINPATH")
    assert "Mode loaded from mode of site-mode 2.0\n" in flux("submit", "--list-plugins")
    assert jobspec("submit", "--dry-run", "--site-mode=x", "true")["attributes"]["system"]["mode"] == "x"
    assert "there is no mode bad" in flux("submit", "--dry-run", "--site-mode=bad", "true", code=1)
    monkeypatch.setenv("FLUX_CLI_PLUGINPATH_OVERRIDE", "")
    assert "--site-mode" in flux("submit", "--dry-run", "--site-mode=x", "true", code=2)
