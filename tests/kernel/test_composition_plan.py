"""What starts where and in which order; a wrong order is an instance that hangs or fails at start."""

from __future__ import annotations

from pathlib import Path

import pytest
from composition_site import Site, write_plugin

from flux_kernel.composition import CompositionError, find_composition


def test_file_order_is_kept_where_nothing_else_decides(site: Site) -> None:
    for name in ("b", "a", "c"):
        site.install(name)
    assert site.names("[modules.c]\n[modules.a]\n[modules.b]\n") == ["c", "a", "b"]


def test_boot_before_run_and_transports_before_modules(site: Site) -> None:
    site.install("svc")
    site.install("early", stage="boot")
    site.install("net", kind="transports")
    assert site.names("[modules.svc]\n[modules.early]\n[transports.net]\n") == ["net", "early", "svc"]


def test_after_before_and_requires_of_class_and_file(site: Site) -> None:
    site.install("a", after=("b",))
    site.install("b", requires=("c",))
    site.install("c")
    site.install("d", before=("c",))
    site.install("e")
    text = '[modules.a]\nafter = ["e"]\n[modules.b]\n[modules.c]\n[modules.d]\n[modules.e]\n'
    assert site.names(text) == ["d", "c", "b", "e", "a"]


def test_a_transport_may_wait_for_a_boot_module(site: Site) -> None:
    site.install("net", kind="transports", requires=("attr",))
    site.install("attr", stage="boot")
    assert site.names("[transports.net]\n[modules.attr]\n") == ["attr", "net"]


def test_requiring_a_service_orders_after_its_provider(site: Site) -> None:
    site.install("user", requires=("sched",))
    site.install("sched-site", provides=("sched",))
    assert site.names("[modules.user]\n[modules.sched-site]\n") == ["sched-site", "user"]


def test_ranks_of_class_and_file(site: Site) -> None:
    site.install("root", ranks="0")
    site.install("some")
    site.install("all")
    text = '[modules.root]\n[modules.some]\nranks = "2-3"\n[modules.all]\n'
    assert site.names(text, rank=0) == ["root", "all"]
    assert site.names(text, rank=2) == ["some", "all"]
    with pytest.raises(ValueError, match="rank 4 is not within an instance of size 4"):
        site.names(text, rank=4)


def test_disabled_and_unnamed_plugins_do_not_start(site: Site) -> None:
    site.install("on")
    site.install("off")
    site.install("unnamed")
    assert site.names("[modules.on]\n[modules.off]\nenabled = false\n") == ["on"]


def test_bootstrap_methods_are_apart_from_the_plan(site: Site) -> None:
    site.install("svc")
    site.install("pmi", kind="bootstrap")
    site.install("single", kind="bootstrap")
    composition = site.load("[modules.svc]\n[bootstrap.single]\n[bootstrap.pmi]\n")
    assert [method.name for method in composition.bootstrap()] == ["single", "pmi"]
    assert [plugin.name for plugin in composition.plan(0, 1)] == ["svc"]


def test_other_kinds_are_available_unless_disabled(site: Site) -> None:
    site.install("top", kind="commands")
    site.install("gone", kind="commands")
    composition = site.load('[commands.gone]\nenabled = false\n[commands.mine]\nuse = "pkg.mod:command"\n')
    commands = composition.available("commands")
    assert {name: entry.target for name, entry in commands.items()} == {
        "top": site.entries[0].target,
        "mine": "pkg.mod:command",
    }


def test_planned_plugin_carries_what_the_loader_needs(site: Site) -> None:
    site.install("cache", options_type=True, provides=("store",))
    text = '[modules.big-cache]\nuse = "cache"\nargs = { count = 7 }\nisolated = true\nranks = "1"\n'
    (plugin,) = site.load(text).plan(1, 2)
    assert (plugin.name, plugin.kind, plugin.stage, plugin.ranks) == ("big-cache", "modules", "run", "1")
    assert plugin.options == {"count": 7}
    assert plugin.isolated
    assert plugin.services == ("big-cache", "store")
    assert plugin.load().__name__ == "Plugin"


def test_a_file_is_found_relative_to_the_composition(site: Site) -> None:
    write_plugin(site.folder, "greeter")
    (plugin,) = site.load('[modules.greeter]\nuse = "./greeter.py"\n').plan(0, 1)
    assert plugin.entry.target == str(site.folder / "greeter.py")


def test_one_class_under_two_names(site: Site) -> None:
    site.install("cache")
    assert site.names('[modules.one]\nuse = "cache"\n[modules.two]\nuse = "cache"\n') == ["one", "two"]


def test_extends_default_overrides_key_by_key(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    default = tmp_path / "default.toml"
    default.write_text('[modules.a]\nranks = "0"\nargs = { count = 1, rate = 2.0 }\n[modules.b]\n')
    monkeypatch.setattr("flux_kernel.composition.default_path", lambda: str(default))
    for name in "abc":
        site.install(name, options_type=True)
    composition = site.load('extends = "default"\n[modules.c]\n[modules.a]\nargs = { count = 5 }\n')
    plan = {plugin.name: plugin for plugin in composition.plan(0, 1)}
    assert list(plan) == ["a", "b", "c"]
    assert plan["a"].ranks == "0"
    assert plan["a"].options == {"count": 5, "rate": 2.0}


def test_search_order(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "conf"
    config.mkdir()
    default = find_composition()
    assert Path(default).exists()
    assert find_composition(config_dir=str(config)) == default
    (config / "plugins.toml").touch()
    assert find_composition(config_dir=str(config)) == str(config / "plugins.toml")
    monkeypatch.setenv("FLUX_CONF_DIR", str(config))
    assert find_composition() == str(config / "plugins.toml")
    monkeypatch.setenv("FLUX_PLUGINS", "/etc/p.toml")
    assert find_composition(config_dir=str(config)) == "/etc/p.toml"
    assert find_composition("/x.toml") == "/x.toml"


def test_a_plan_with_problems_is_refused_as_one_page(site: Site) -> None:
    site.install("kvs")
    composition = site.load('[modules.kvss]\n[modules.kvs]\nrank = "0"\n')
    with pytest.raises(CompositionError) as caught:
        composition.plan(0, 1)
    first, *lines = str(caught.value).splitlines()
    assert first == f"{site.path}: 2 problems in the composition, nothing was started"
    assert lines == [str(problem) for problem in composition.check()]
