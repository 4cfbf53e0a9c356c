"""Which plugin a name means: a site's package must be found, win over a builtin, and be gone when removed."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import sys
from pathlib import Path

import pytest

from flux import discovery
from flux.discovery import Entry, PluginError, build_index, load, resolve
from flux_kernel.discovery import scan


def install(site: Path, dist: str, version: str = "1.0", **groups: dict[str, str]) -> Path:
    """A distribution's metadata in `site`, as an installer leaves it."""
    info = site / f"{dist.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n")
    lines = []
    for kind, entries in groups.items():
        lines += [f"[flux.{kind}]", *(f"{name} = {target}" for name, target in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return info


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory on sys.path, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One element per scan made."""
    made: list[str] = []
    real = discovery._scan
    monkeypatch.setattr(discovery, "_scan", lambda paths, cache: made.append(cache) or real(paths, cache))
    return made


def test_scan_keeps_target_distribution_and_version(tmp_path: Path) -> None:
    install(tmp_path, "Site_Plugins", "2.1", modules={"greeter": "site.greeter:Greeter"}, commands={"hi": "site:hi"})
    index = scan([str(tmp_path)])
    assert index.find("modules", "greeter") == Entry(
        "greeter", "modules", "site.greeter:Greeter", "site-plugins", "2.1"
    )
    assert index.names("commands") == ["hi"]
    assert index.find("modules", "hi") is None


def test_a_site_wins_over_builtin_wherever_it_is_installed(tmp_path: Path) -> None:
    install(tmp_path / "a", "a-site", modules={"kvs": "a:Kvs"})
    install(tmp_path / "b", "flux-kernel", modules={"kvs": "b:Kvs"})
    for paths in (["a", "b"], ["b", "a"]):
        index = scan([str(tmp_path / p) for p in paths])
        assert index.entries["modules"]["kvs"].target == "a:Kvs"
        assert [entry.dist for entry in index.shadows] == ["flux-kernel"]
        assert index.duplicates() == []


def test_two_sites_with_one_name_are_duplicates(tmp_path: Path) -> None:
    install(tmp_path, "one", modules={"x": "one:X"})
    install(tmp_path, "two", modules={"x": "two:X"})
    index = scan([str(tmp_path)])
    assert [(won.dist, lost.dist) for won, lost in index.duplicates()] == [("two", "one")]


def test_the_first_of_a_distribution_installed_twice_counts(tmp_path: Path) -> None:
    install(tmp_path / "a", "site", "2.0", modules={"x": "new:X"})
    install(tmp_path / "b", "site", "1.0", modules={"x": "old:X"})
    index = scan([str(tmp_path / "a"), str(tmp_path / "b")])
    assert index.entries["modules"]["x"].version == "2.0"
    assert index.shadows == []


def test_index_is_cached(packages: Path, scans: list[str]) -> None:
    install(packages, "site", modules={"greeter": "site:G"})
    first = discovery.index()
    assert first.find("modules", "greeter")
    assert discovery.index() == first
    assert len(scans) == 1


def test_install_and_removal_are_noticed(packages: Path, scans: list[str]) -> None:
    before = discovery.index()
    info = install(packages, "site", modules={"greeter": "site:G"})
    during = discovery.index()
    assert during.find("modules", "greeter")
    assert during.fingerprint != before.fingerprint
    shutil.rmtree(info)
    assert discovery.index() == before
    assert len(scans) == 3


def test_an_edited_entry_points_file_is_noticed(packages: Path) -> None:
    info = install(packages, "site", modules={"greeter": "site:G"})
    discovery.index()
    (info / "entry_points.txt").write_text("[flux.modules]\nother-greeter = site:G\n")
    assert discovery.index().find("modules", "greeter") is None


def test_other_changes_of_a_directory_need_no_scan(packages: Path, scans: list[str]) -> None:
    discovery.index()
    (packages / "something.txt").touch()
    os.utime(packages, ns=(1, 1))
    discovery.index()
    discovery.index()
    assert len(scans) == 1


def test_a_scan_that_fails_says_why(packages: Path) -> None:
    (packages / "stevedore.py").write_text("raise RuntimeError('broken installation')\n")
    with pytest.raises(PluginError, match="cannot list the installed plugins: RuntimeError: broken installation"):
        discovery.index()


# resolve and load

INSTALLED = build_index([Entry("kvs", "modules", "site.kvs:Kvs", "site", "1"), Entry("join", "jobtap", "os.path")])
GREETER = "from flux.module import Module\nclass Greeter(Module):\n    name = 'greeter'\n"


def test_resolve_name_dotted_path_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "greeter.py").write_text(GREETER)
    monkeypatch.chdir(tmp_path)
    assert resolve("modules", "kvs", INSTALLED).dist == "site"
    assert resolve("modules", "a.b:C", INSTALLED) == Entry("C", "modules", "a.b:C")
    path = str(tmp_path / "greeter.py")
    for reference in ("greeter.py", "./greeter.py", path):
        assert resolve("modules", reference, INSTALLED) == Entry("greeter", "modules", path)


def test_resolve_suggests(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match='no plugin "kvss" is installed; did you mean "kvs"') as caught:
        resolve("modules", "kvss", INSTALLED)
    assert (caught.value.errno, caught.value.suggestion) == (errno.ENOENT, "kvs")
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    with pytest.raises(PluginError, match="no such plugin file"):
        resolve("modules", str(tmp_path / "x.py"), INSTALLED)


def test_load_a_file(tmp_path: Path) -> None:
    path = tmp_path / "greeter.py"
    path.write_text(GREETER)
    cls, origin = load("modules", str(path))
    assert cls.name == "greeter"
    assert origin.file == str(path)
    assert sys.modules[cls.__module__].__file__ == str(path)


def test_a_file_edited_within_the_same_second_is_loaded_afresh(tmp_path: Path) -> None:
    path = tmp_path / "greeter.py"
    for name in ("aaaaaaa", "bbbbbbb"):
        path.write_text(GREETER.replace("'greeter'", f"'{name}'"))
        os.utime(path, (1_000_000_000, 1_000_000_000))
        assert load("modules", str(path))[0].name == name


def test_two_classes_need_a_variable_that_says_which(tmp_path: Path) -> None:
    path = tmp_path / "two.py"
    path.write_text(f"{GREETER}class Other(Module):\n    pass\n")
    with pytest.raises(PluginError, match=r"found: Greeter, Other; set module = CLASS"):
        load("modules", str(path))
    path.write_text(path.read_text() + "module = Other\n")
    assert load("modules", str(path))[0].__name__ == "Other"


def test_a_file_without_a_plugin(tmp_path: Path) -> None:
    path = tmp_path / "none.py"
    path.write_text("from flux.module import Module\n")
    with pytest.raises(PluginError, match="one plugin class is expected for modules, found: none"):
        load("modules", str(path))


@pytest.mark.parametrize(
    ("kind", "base", "missing"),
    [
        ("modules", "flux.backing.BackingModule", "opener"),
        ("modules", "flux_plugins.sched.driver.Scheduler", "depth, forecast, place"),
        ("validators", "flux.job.validator.ValidatorPlugin", "validate"),
        ("frobnicators", "flux.job.frobnicator.FrobnicatorPlugin", "frob"),
        ("bootstrap", "flux.hooks.kernel.Bootstrap", "abort, available, barrier, finalize, lookup, open, publish"),
    ],
)
def test_a_class_that_leaves_out_what_its_base_requires(tmp_path: Path, kind: str, base: str, missing: str) -> None:
    """The author reads which methods are missing when the plugin is loaded, not when one is first called."""
    path = tmp_path / "half.py"
    path.write_text(f"import {base.rpartition('.')[0]}\nclass Half({base}):\n    pass\n")
    with pytest.raises(PluginError, match=f'plugin "half": class Half has to define {missing}$') as caught:
        load(kind, str(path))
    assert caught.value.errno == errno.EINVAL


def test_a_file_that_raises_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "raises.py"
    path.write_text("def f():\n    return {}['key']\nf()\n")
    with pytest.raises(PluginError, match=r"raises.py:2: the plugin file cannot be imported: KeyError: 'key'"):
        load("modules", str(path))
    assert not [name for name in sys.modules if name.startswith("flux_file_plugin_raises")]


def test_what_a_file_of_each_kind_holds(tmp_path: Path) -> None:
    path = tmp_path / "many.py"
    path.write_text(
        "def command(argv): return 0\ndef connect(rest): return rest\ndef job_validate(job): pass\n"
        "class Check:\n    def validate(self, job): pass\nclass Frob:\n    def frob(self, jobspec): pass\n"
    )
    loaded = {kind: load(kind, str(path))[0] for kind in ("commands", "connectors", "validators", "frobnicators")}
    assert {kind: found.__name__ for kind, found in loaded.items()} == {
        "commands": "command",
        "connectors": "connect",
        "validators": "Check",
        "frobnicators": "Frob",
    }
    assert hasattr(load("jobtap", str(path))[0], "job_validate")


def test_a_dotted_path_with_a_wrong_attribute() -> None:
    with pytest.raises(PluginError, match=r'has no "jion"; did you mean "join"\?'):
        load("modules", "os.path:jion", installed=INSTALLED)


def test_load_accepts_a_predicate(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text("class A: pass\nclass B: pass\n")
    assert load("modules", str(path), accepts=lambda x: getattr(x, "__name__", "") == "B")[0].__name__ == "B"
