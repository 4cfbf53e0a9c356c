"""`flux admin` and `flux fortune`: commands for the end of an instance, the scripts of a system, a saying."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from flux.testing import Instance
from flux_cli.cmd.fortune import CATEGORIES

Run = Callable[..., subprocess.CompletedProcess[str]]

CONFIG = """
[job-manager]
plugins = [{load = "perilog"}]
prolog = {command = ["/usr/libexec/flux/flux-imp", "run", "prolog"], per-rank = true}
epilog = {command = ["/bin/sweep", "all nodes"]}
"""


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, str]:
    """Folders of a system: a site's prologs, one of which cannot be run, and one housekeeping script."""
    scripts = tmp_path / "etc/system/prolog.d"
    scripts.mkdir(parents=True)
    for name, mode in (("10-begin", 0o755), ("20-forgotten", 0o644)):
        (scripts / name).touch(mode)
    (tmp_path / "etc/system/housekeeping").touch(0o755)
    return {
        "FLUX_SYSTEM_SCRIPTS_LIBEXECDIR": str(tmp_path / "lib"),
        "FLUX_SYSTEM_SCRIPTS_CONFDIR": str(tmp_path / "etc"),
    }


def test_commands_are_run_at_the_end_the_last_pushed_first(instance: Callable[..., Instance], tmp_path: Path) -> None:
    running, file = instance(size=1), tmp_path / "order"
    assert running.run("flux", "admin", "cleanup-push", "echo", "early", ">>", str(file)).returncode == 0
    lines = "".join(f"echo {word} >>{file}\n" for word in ("first", "second"))
    assert running.run("flux", "admin", "cleanup-push", input=lines).returncode == 0
    assert running.stop() == 0
    assert file.read_text().split() == ["first", "second", "early"]


def test_what_is_no_command_is_not_pushed(running: Instance) -> None:
    for text, message in (("", "commands array is empty"), ("true\n\n", "cannot push an empty command line")):
        done = running.run("flux", "admin", "cleanup-push", input=text)
        assert (done.returncode, message in done.stderr) == (1, True), done.stderr


def test_scripts_of_a_configured_system(
    flux_instance: Callable[..., Instance], folders: dict[str, str], tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    running = flux_instance(1, args=[f"--config-path={config}"])
    done = running.run("flux", "admin", "system-scripts", env=folders)
    system, site = folders.values()
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "▸ prolog: enabled (per-rank=true)",
        f"  system: {system}/prolog.d",
        "    (no scripts)",
        f"  site: {site}/system/prolog.d",
        "    ✓ 10-begin",
        "    ✗ not executable 20-forgotten",
        "",
        "▸ epilog: enabled (per-rank=false)",
        "  command: /bin/sweep all nodes",
        "",
        "▸ housekeeping: not configured",
        "",
    ]
    assert running.run("flux", "jobtap", "remove", "perilog").returncode == 0
    told = running.run("flux", "admin", "system-scripts", "--color=always", env=folders).stdout
    assert "▸ prolog: \033[33mconfigured but inactive\033[0m\n" in told


def test_scripts_without_an_instance(folders: dict[str, str], running: Instance) -> None:
    command = [running.command[0], "admin", "system-scripts", "-v"]
    environment = {**os.environ, **folders, "FLUX_URI": "local:///nonexistent", "FLUX_LOCAL_CONNECTOR_RETRY_COUNT": "0"}
    environment["LC_ALL"] = "xx_YY.UTF-8"  # ssh brings along locales that a host may not have
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    site = folders["FLUX_SYSTEM_SCRIPTS_CONFDIR"]
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"▸ prolog: not configured\n  site: {site}/system/prolog.d\n    ✓ 10-begin\n")
    assert f"    ✓ {site}/system/housekeeping (legacy, skips site scripts)\n" in done.stdout


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_fortune_is_of_the_category_asked_for(running: Instance, category: str) -> None:
    done = running.run("flux", "fortune", "-c", category)
    assert done.stdout.rstrip("\n") in [text.strip("\n") for text in CATEGORIES[category]]
