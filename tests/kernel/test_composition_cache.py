"""The cached plan: a start is cheap, and never follows a plan that is no longer true."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from composition_site import Site, write_plugin

from flux import cachefile
from flux_kernel import composition

TEXT = '[modules.kvs]\nargs = { count = 2 }\n[modules.content]\nranks = "0"\n'


@pytest.fixture
def cached(site: Site) -> Site:
    site.install("kvs", options_type=True, requires=("content",))
    site.install("content")
    assert site.names(TEXT) == ["content", "kvs"]
    return site


def plan_file() -> Path:
    (path,) = Path(cachefile.cache_dir()).glob("plan-*.json")
    return path


def forbid_compose(monkeypatch: pytest.MonkeyPatch) -> None:
    def compose(*args: object) -> None:
        raise AssertionError("the composition was checked again")

    monkeypatch.setattr(composition, "_compose_file", compose)


def test_an_unchanged_composition_is_not_checked_again(cached: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cached.load()
    forbid_compose(monkeypatch)
    second = cached.load()
    assert second.plan(0, 4) == first.plan(0, 4)
    assert [plugin.options for plugin in second.plan(1, 4)] == [{"count": 2}]
    assert second.available("modules") == first.available("modules")


def test_a_changed_file_is_read_again(cached: Site) -> None:
    assert cached.names('[modules.content]\nranks = "0"\n') == ["content"]
    assert cached.problems("[modules.kvss]\n")


def test_a_changed_installation_is_noticed(cached: Site) -> None:
    cached.entries.pop()
    assert 'no plugin "content" is installed' in cached.load().check()[0].message


def test_an_edited_plugin_is_declared_again(cached: Site) -> None:
    write_plugin(cached.folder, "site-plugins-modules-content", ranks="all", before=("absent",), stage="boot")
    plugin = cached.load().plan(0, 1)[0]
    assert (plugin.name, plugin.stage) == ("content", "boot")


@pytest.mark.parametrize("rate", ["inf", "-inf"])
def test_an_option_that_a_cache_cannot_hold_stays_as_it_is(site: Site, rate: str) -> None:
    site.install("kvs", options_type=True)
    for _ in range(2):
        (plugin,) = site.load(f"[modules.kvs]\nargs = {{ rate = {rate} }}\n").plan(0, 1)
        assert plugin.options == {"rate": float(rate)}


def test_a_composition_with_problems_is_not_cached(site: Site) -> None:
    assert site.problems("[modules.kvs]\n")
    site.install("kvs")
    assert site.names("[modules.kvs]\n") == ["kvs"]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"format": 1}'])
def test_a_damaged_cache_is_ignored(cached: Site, damage: bytes) -> None:
    plan_file().write_bytes(damage)
    assert cached.names(TEXT) == ["content", "kvs"]


def test_a_cache_that_others_may_write_is_ignored(cached: Site) -> None:
    record = json.loads(plan_file().read_text())
    record["plugins"] = []
    plan_file().write_text(json.dumps(record))
    plan_file().chmod(0o666)
    assert cached.names(TEXT) == ["content", "kvs"]


def test_no_cache_directory_is_no_error(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("kvs")
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nothing/here")
    assert site.names("[modules.kvs]\n") == ["kvs"]
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    assert cachefile.cache_dir() == ""
    assert site.names("[modules.kvs]\n") == ["kvs"]


def test_the_cache_does_not_grow_without_bound(cached: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cachefile, "KEEP", 3)
    for number in range(6):
        cached.path = cached.folder / f"{number}.toml"
        cached.names(TEXT)
    assert len(list(Path(cachefile.cache_dir()).iterdir())) == 3


def test_the_cached_path_imports_no_parser_and_no_plugin(site: Site) -> None:
    """What a broker's start saves: run in a fresh interpreter, with the plan in the cache."""
    write_plugin(site.folder, "greeter")
    site.path.write_text('[modules.greeter]\nuse = "greeter.py"\n')
    script = (
        "import sys\n"
        "from flux_kernel.composition import load_composition\n"
        f"print([p.name for p in load_composition({str(site.path)!r}).plan(0, 1)])\n"
        "names = ('tomllib', 'tomlkit', 'flux.module', 'importlib.metadata', 'subprocess', 'stevedore', 'asyncio')\n"
        "print(sorted(set(names) & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", script]
    environ = {**os.environ}
    runs = [subprocess.run(command, env=environ, capture_output=True, text=True, check=True) for _ in range(2)]
    assert runs[0].stdout.splitlines()[0] == "['greeter']"
    assert runs[1].stdout.splitlines() == ["['greeter']", "[]"]
