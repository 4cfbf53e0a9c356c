"""`flux plugins`: what an administrator sees and changes without an instance."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flux_cli.cmd import plugins
from flux_cli.composition_edit import set_enabled
from flux_cli.main import guarded
from flux_kernel.composition import default_path

MODULES = """
from flux.module import Module

class Content(Module):
    pass

class Kvs(Module):
    requires = ("content",)

class SchedA(Module):
    provides = ("sched",)
    ranks = "0"

class SchedB(SchedA):
    pass
"""

ENTRY_POINTS = """
[flux.modules]
content = acme_plugins:Content
kvs = acme_plugins:Kvs
sched-a = acme_plugins:SchedA
sched-b = acme_plugins:SchedB
[flux.commands]
kvs = acme_plugins:command
acme-top = acme_plugins:command
"""

COMPOSITION = """\
# our site
[modules.content]   # blobs

# the rest
[modules.kvs]       # keys
[modules.sched-a]
[modules.sched-b]
enabled = false     # the other one
"""


def command(argv: list[str]) -> int:
    return guarded("flux-plugins", lambda: plugins.command(argv))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A composition in use, of plugins that an installed distribution brings."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    packages = tmp_path / "packages"
    info = packages / "acme_plugins-3.2.dist-info"
    info.mkdir(parents=True)
    (packages / "acme_plugins.py").write_text(MODULES)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-plugins\nVersion: 3.2\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(packages))
    monkeypatch.delitem(sys.modules, "acme_plugins", raising=False)
    monkeypatch.delenv("FLUX_CONF_DIR", raising=False)
    path = tmp_path / "plugins.toml"
    path.write_text(COMPOSITION)
    monkeypatch.setenv("FLUX_PLUGINS", str(path))
    monkeypatch.chdir(tmp_path)
    return path


Captured = pytest.CaptureFixture[str]


def rows(capsys: Captured, *args: str) -> dict[tuple[str, str], dict[str, str]]:
    assert command(["list", "--json", *args]) == 0
    return {(row["kind"], row["name"]): row for row in json.loads(capsys.readouterr().out)}


def test_list_as_table(path: Path, capsys: Captured) -> None:
    assert command(["list", "--kind=modules"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "KIND", "VERSION", "STATE", "RANKS", "ORIGIN"]
    assert lines[1].split() == ["content", "modules", "3.2", "enabled", "all", "acme-plugins"]
    assert lines[3].split() == ["sched-a", "modules", "3.2", "enabled", "0", "acme-plugins"]
    assert all(" commands " not in line for line in lines)


def test_list_states(path: Path, capsys: Captured) -> None:
    listed = rows(capsys)
    assert listed["modules", "sched-b"]["state"] == "disabled"
    assert listed["commands", "acme-top"]["state"] == "enabled"
    shadowed = [row["name"] for row in listed.values() if row["state"] == "shadowed"]
    assert "kvs" in shadowed  # the builtin one gives way to the site's
    assert listed["modules", "heartbeat"]["state"] == "available"
    assert listed["commands", "acme-top"]["target"] == "acme_plugins:command"


def test_list_of_a_broken_composition_still_lists(path: Path, capsys: Captured) -> None:
    path.write_text("[modules.kvss]\n[modules.content]\n")
    assert command(["list", "--json"]) == 0
    captured = capsys.readouterr()
    states = [(row["name"], row["state"]) for row in json.loads(captured.out)]
    assert states[:2] == [("kvss", "missing"), ("content", "enabled")]
    assert f"{path} has a problem, see flux plugins check" in captured.err


def test_check(path: Path, capsys: Captured) -> None:
    assert command(["check"]) == 0
    assert capsys.readouterr().out == "ok: 3 plugins\n"
    other = path.with_name("other.toml")
    other.write_text("[modules.kvs]\n[modules.contentt]\n")
    assert command(["check", str(other)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f'{other}:1: [modules.kvs]: requires "content", which no enabled plugin provides: add [modules.content]',
        f'{other}:2: [modules.contentt]: no plugin "contentt" is installed; did you mean "content"?',
    ]


def test_check_in_a_configuration_directory(path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLUX_PLUGINS")
    assert command(["check", "--config-path", str(path.parent)]) == 0
    assert capsys.readouterr().out == "ok: 3 plugins\n"


def test_switching_a_provider_keeps_comments_and_order(path: Path, capsys: Captured) -> None:
    assert command(["disable", "sched-a"]) == 0
    assert command(["enable", "sched-b"]) == 0
    assert path.read_text() == COMPOSITION.replace(
        "[modules.sched-a]\n", "[modules.sched-a]\nenabled = false\n"
    ).replace("enabled = false     # the other", "enabled = true     # the other")
    assert command(["check"]) == 0


def test_disable_refuses_to_break_a_requirement(path: Path, capsys: Captured) -> None:
    assert command(["disable", "content"]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith('flux-plugins: "content" is not disabled (--force does it anyway), because then\n')
    assert f'{path}:6: [modules.kvs]: requires "content"' in captured.err
    assert path.read_text() == COMPOSITION
    assert command(["disable", "--force", "content"]) == 0
    assert path.read_text() == COMPOSITION.replace("# blobs\n", "# blobs\nenabled = false\n")


def test_enable_refuses_a_second_provider(path: Path, capsys: Captured) -> None:
    assert command(["enable", "sched-b"]) == 1
    assert 'provides "sched" on the same ranks' in capsys.readouterr().err
    assert path.read_text() == COMPOSITION


def test_a_plugin_without_a_table_gets_one(path: Path, capsys: Captured) -> None:
    assert command(["disable", "acme-top"]) == 0
    assert path.read_text() == f"{COMPOSITION}\n[commands.acme-top]\nenabled = false\n"
    assert rows(capsys)["commands", "acme-top"]["state"] == "disabled"


def test_a_name_of_service_and_command_is_the_service(path: Path, capsys: Captured) -> None:
    assert command(["disable", "kvs"]) == 0
    assert "# keys\nenabled = false\n" in path.read_text()
    assert "commands.kvs" not in path.read_text()


def test_unknown_names(path: Path, capsys: Captured) -> None:
    assert command(["enable", "contemt"]) == 1
    assert capsys.readouterr().err == (
        f'flux-plugins: no plugin "contemt" is installed or named in {path}; did you mean "content"?\n'
    )
    assert command(["disable", "kvs", "--kind=commands"]) == 0
    assert path.read_text().endswith("[commands.kvs]\nenabled = false\n")


def test_an_edit_keeps_mode_and_link(path: Path) -> None:
    real = path.with_name("real.toml")
    path.rename(real)
    path.symlink_to(real)
    real.chmod(0o640)
    assert command(["disable", "kvs", "-k", "modules"]) == 0
    assert path.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["cache", "packages", "plugins.toml", "real.toml"]


def test_line_ends_stay(path: Path) -> None:
    path.write_bytes(COMPOSITION.replace("\n", "\r\n").encode())
    assert command(["disable", "sched-a"]) == 0
    assert b"[modules.sched-a]\r\nenabled = false\r\n" in path.read_bytes()


def test_bytes_that_are_no_text(path: Path, capsys: Captured) -> None:
    path.write_bytes(b"\xff\xfe[modules.kvs]")
    for argv in (["list"], ["enable", "kvs"]):
        assert command(argv) == 1
        assert "is not UTF-8" in capsys.readouterr().err


def test_a_broken_file_is_not_edited(path: Path, capsys: Captured) -> None:
    path.write_text("[modules.content\n")
    assert command(["disable", "content"]) == 1
    assert "not valid TOML" in capsys.readouterr().err
    assert path.read_text() == "[modules.content\n"


def test_the_default_is_not_edited(path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLUX_PLUGINS")
    before = Path(default_path()).read_bytes()
    assert command(["disable", "heartbeat"]) == 1
    assert "begin your own with `flux plugins init FILE`" in capsys.readouterr().err
    assert Path(default_path()).read_bytes() == before


def test_init(path: Path, capsys: Captured) -> None:
    assert command(["init", "mine.toml"]) == 0
    assert 'extends = "default"' in Path("mine.toml").read_text()
    assert command(["init", "mine.toml"]) == 1
    assert "mine.toml exists, --force overwrites it" in capsys.readouterr().err
    assert command(["init", "--force", "--copy", "mine.toml"]) == 0
    assert Path("mine.toml").read_bytes() == Path(default_path()).read_bytes()


def test_init_then_disable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The five lines a site writes: extend the default, say what differs."""
    monkeypatch.setenv("FLUX_PLUGINS", "mine.toml")
    assert command(["init", "mine.toml"]) == 0
    assert command(["disable", "--force", "heartbeat"]) == 0
    assert Path("mine.toml").read_text().endswith('extends = "default"\n\n[modules.heartbeat]\nenabled = false\n')


@pytest.mark.parametrize("argv", [["list", "--kind=modul"], ["frobnicate"], [], ["enable"]])
def test_usage_errors(argv: list[str], capsys: Captured) -> None:
    assert command(argv) == 2
    assert "usage: flux plugins" in capsys.readouterr().err


def test_a_file_that_is_not_there(path: Path, capsys: Captured) -> None:
    assert command(["check", "nothere.toml"]) == 1
    assert "nothere.toml: cannot be read: No such file or directory" in capsys.readouterr().out
    assert command(["list", "--plugins=nothere.toml"]) == 1
    assert "nothere.toml: No such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("modules.kvs.ranks = '0'\n", "modules.kvs.ranks = '0'\nmodules.kvs.enabled = false\n"),
        ("[modules]\nkvs = { ranks = '0' }  # k\n", "[modules]\nkvs = { ranks = '0' , enabled = false}  # k\n"),
        ("[modules.kvs]  # k\n\n# next\n[a.b]\n", "[modules.kvs]  # k\nenabled = false\n\n# next\n[a.b]\n"),
        ("[modules.kvs]", "[modules.kvs]\nenabled = false"),
        ("[modules.kvs.args]\nx = 1\n", "[modules.kvs]\nenabled = false\n\n[modules.kvs.args]\nx = 1\n"),
        ("[modules.'kvs']\nranks = '0'\n", "[modules.'kvs']\nenabled = false\nranks = '0'\n"),
        ("[modules.kvs]\r\n# x\r\n", "[modules.kvs]\r\nenabled = false\r\n# x\r\n"),
        ("", "[modules.kvs]\nenabled = false\n"),
    ],
)
def test_every_way_to_write_a_table_is_edited(before: str, after: str) -> None:
    import tomllib

    edited = set_enabled(before, "modules", "kvs", False)
    assert tomllib.loads(edited) == tomllib.loads(after)
    assert edited.replace(" ", "") == after.replace(" ", "")


def test_as_a_process_of_its_own(path: Path) -> None:
    code = "import sys; from flux_cli.cmd.plugins import command; sys.exit(command(sys.argv[1:]))"
    environ = {**os.environ, "PYTHONPATH": str(path.parent / "packages")}
    done = subprocess.run(
        [sys.executable, "-c", code, "check"], env=environ, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok: 3 plugins\n", "")
