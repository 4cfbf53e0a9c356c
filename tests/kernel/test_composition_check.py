"""Every mistake in plugins.toml is refused at start, with line, culprit and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest
from composition_site import Site


@pytest.fixture
def kvs(site: Site) -> Site:
    site.install("kvs", options_type=True)
    site.install("content")
    return site


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[modules.kvs\n", "plugins.toml:1: not valid TOML: Expected ']' at the end of a table declaration"),
        (
            "[modules.kvs]\n[modules.kvs]\n",
            "plugins.toml:2: [modules.kvs]: a second table of this name, the first is on line 1",
        ),
        (
            "\n[module.kvs]\n",
            'plugins.toml:2: [module]: there is no kind "module", kinds are modules, transports, bootstrap, '
            "connectors, jobtap, rc, shell, validators, frobnicators, commands, cli, resolvers; "
            'did you mean "modules"?',
        ),
        (
            "# a comment\n[modules.kvss]\n",
            'plugins.toml:2: [modules.kvss]: no plugin "kvss" is installed; did you mean "kvs"?',
        ),
        (
            '[modules.kvs]\nrank = "0"\n',
            'plugins.toml:2: [modules.kvs.rank]: there is no key "rank": keys of modules are use, enabled, args, '
            "ranks, isolated, command, restart, restart-limit, restart-delay, requires, after, before; "
            'did you mean "ranks"?',
        ),
        (
            '[modules.kvs]\nprovides = ["x"]\n',
            'plugins.toml:2: [modules.kvs.provides]: there is no key "provides": it is the class attribute '
            "`provides` that says so",
        ),
        (
            '[commands.kvs]\nuse = "a:b"\nranks = "0"\n',
            'plugins.toml:3: [commands.kvs.ranks]: there is no key "ranks": keys of commands are use, enabled, args',
        ),
        (
            "[modules.kvs]\nranks = 0\n",
            'plugins.toml:2: [modules.kvs.ranks]: expected a string such as "all", "0" or "1-3", not an integer',
        ),
        (
            '[modules.kvs]\nafter = "content"\n',
            'plugins.toml:2: [modules.kvs.after]: expected an array of plugin names such as ["kvs"], not a string',
        ),
        (
            "[modules.kvs]\nargs = { cuont = 3 }\n",
            'plugins.toml:2: [modules.kvs.args.cuont]: there is no option "cuont": options are count, rate; '
            'did you mean "count"?',
        ),
        (
            "[modules.kvs.args]\nrate = 1.0\ncount = 'many'\n",
            "plugins.toml:3: [modules.kvs.args.count]: Expected int, got str",
        ),
        (
            "[modules.content]\nargs = { count = 3 }\n",
            'plugins.toml:2: [modules.content.args.count]: there is no option "count": it takes none',
        ),
        (
            '[modules.kvs]\nrequires = ["contents"]\n[modules.content]\n',
            'plugins.toml:2: [modules.kvs.requires]: requires "contents", which no enabled plugin provides; '
            'did you mean "content"?',
        ),
        (
            '[modules.kvs]\nafter = ["contemt"]\n',
            'plugins.toml:2: [modules.kvs.after]: after names "contemt", which is no plugin; did you mean "content"?',
        ),
        ("[modules.kvs]\nuse = './gone.py'\n", "no such plugin file"),
        ('extends = "defualt"\n', 'plugins.toml:1: [extends]: the only composition that can be extended is "default"'),
        (
            '[modules.kvs]\nrestart = "on-failur"\n',
            'plugins.toml:2: [modules.kvs.restart]: expected "never" or "on-failure", not \'on-failur\''
            '; did you mean "on-failure"?',
        ),
        (
            "[modules.kvs]\nrestart-limit = 0\n",
            "plugins.toml:2: [modules.kvs.restart-limit]: expected a number of restarts, at least 1, not 0",
        ),
        (
            "[modules.kvs]\nrestart-delay = true\n",
            "plugins.toml:2: [modules.kvs.restart-delay]: expected a number of seconds, 0 or more, not a boolean",
        ),
        (
            '[modules.kvs]\nrestart = "on-failure"\n',
            'plugins.toml:1: [modules.kvs]: requires "supervise", which no enabled plugin provides',
        ),
        ("[modules.kvs]\ncommand = []\n", "[modules.kvs.command]: expected an array with a program and its arguments"),
        (
            '[modules.kvs]\ncommand = ["x"]\nuse = "kvs"\n',
            "plugins.toml:3: [modules.kvs.use]: a module with a command of its own is what that runs",
        ),
        ("modules = 3\n", "plugins.toml:1: [modules]: expected tables [modules.NAME]"),
        ("[modules]\nkvs = true\n", "plugins.toml:2: [modules.kvs]: expected a table [modules.kvs]"),
    ],
)
def test_one_mistake(kvs: Site, text: str, expected: str) -> None:
    (problem,) = kvs.problems(text)
    assert expected in problem


@pytest.mark.parametrize("ranks", ["", "x", "3-1", "0-", "-1"])
def test_bad_ranks(kvs: Site, ranks: str) -> None:
    (problem,) = kvs.problems(f'[modules.kvs]\nranks = "{ranks}"\n')
    assert problem.startswith(f'plugins.toml:2: [modules.kvs.ranks]: bad ranks "{ranks}", expected "all" or an idset')


def test_all_mistakes_at_once_in_order(kvs: Site) -> None:
    problems = kvs.problems('[modules.kvss]\n[modules.content]\nenabled = 1\n[modul.x]\n[modules.kvs]\nranks = "z"\n')
    assert [problem.split(":")[1] for problem in problems] == ["1", "3", "4", "6"]


def test_column_of_an_inline_option(kvs: Site) -> None:
    (problem,) = kvs.load("[modules.kvs]\nargs = { rate = 1.0, cuont = 3 }\n").check()
    assert (problem.line, problem.column) == (2, 22)


def test_a_file_that_raises_is_named_with_the_line(site: Site) -> None:
    (site.folder / "bad.py").write_text("import os\n\nos.environ['NO_SUCH_VARIABLE_HERE']\n")
    (problem,) = site.problems('[modules.bad]\nuse = "bad.py"\n')
    assert problem == (
        "plugins.toml:2: [modules.bad.use]: the plugin file cannot be imported: "
        "KeyError: 'NO_SUCH_VARIABLE_HERE' (bad.py:3)"
    )


def test_a_file_with_a_syntax_error(site: Site) -> None:
    (site.folder / "bad.py").write_text("x = 1\ndef f(:\n")
    (problem,) = site.problems('[modules.bad]\nuse = "bad.py"\n')
    assert "SyntaxError: invalid syntax" in problem
    assert problem.endswith("(bad.py:2)")


def test_files_of_other_kinds_are_imported_too(site: Site) -> None:
    (site.folder / "policy.py").write_text("1 / 0\n")
    (problem,) = site.problems('[jobtap.policy]\nuse = "./policy.py"\n')
    assert "ZeroDivisionError" in problem


def test_cycle_names_the_plugins_in_order(site: Site) -> None:
    site.install("a", after=("b",))
    site.install("b", requires=("c",))
    site.install("c", after=("a",))
    site.install("x", after=("y",))
    site.install("y", after=("x", "a"))
    problems = site.problems("[modules.a]\n[modules.b]\n[modules.c]\n[modules.x]\n[modules.y]\n")
    assert problems == [
        "plugins.toml:1: [modules.a]: the start order goes in a circle: a after b after c after a",
        "plugins.toml:4: [modules.x]: the start order goes in a circle: x after y after x",
    ]


def test_missing_requirement_says_how_to_get_it(site: Site) -> None:
    site.install("job-manager", requires=("sched", "kvs", "content"))
    site.install("kvs")
    site.install("content")
    problems = site.problems("[modules.job-manager]\n[modules.content]\nenabled = false\n")
    assert problems == [
        'plugins.toml:1: [modules.job-manager]: requires "sched", which no enabled plugin provides',
        'plugins.toml:1: [modules.job-manager]: requires "kvs", which no enabled plugin provides: add [modules.kvs]',
        'plugins.toml:1: [modules.job-manager]: requires "content", which no enabled plugin provides: '
        f"[modules.content] is disabled ({site.path}:2)".replace(f"{site.folder}/", ""),
    ]


@pytest.mark.parametrize(("provider", "user", "good"), [("0", "all", True), ("1-3", "2", True), ("1", "2", False)])
def test_requirement_on_this_rank_or_upstream(site: Site, provider: str, user: str, good: bool) -> None:
    site.install("kvs", ranks=provider)
    site.install("user", ranks=user, requires=("kvs",))
    problems = site.problems("[modules.kvs]\n[modules.user]\n")
    assert problems == [] if good else 'requires "kvs", which runs on ranks 1 only' in problems[0]


def test_two_providers_of_one_service(site: Site) -> None:
    site.install("sched-a", provides=("sched",))
    site.install("sched-b", provides=("sched",))
    (problem,) = site.problems("[modules.sched-a]\n[modules.sched-b]\n")
    assert problem == (
        'plugins.toml:2: [modules.sched-b]: provides "sched" on the same ranks as [modules.sched-a] (plugins.toml:1); '
        "disable one of them, or give them other ranks"
    )


def test_a_plugin_name_is_a_service(site: Site) -> None:
    site.install("sched")
    site.install("other", provides=("sched",))
    (problem,) = site.problems("[modules.sched]\n[modules.other]\n")
    assert 'provides "sched" on the same ranks' in problem


def test_two_providers_on_other_ranks_are_fine(site: Site) -> None:
    site.install("a", provides=("s",), ranks="0")
    site.install("b", provides=("s",))
    assert site.problems('[modules.a]\n[modules.b]\nranks = "1-7"\n') == []


def test_one_name_in_two_kinds(site: Site) -> None:
    site.install("net")
    site.install("net", kind="transports")
    (problem,) = site.problems("[transports.net]\n[modules.net]\n")
    assert 'two plugins of one name "net", the other is [transports.net] (plugins.toml:1)' in problem


def test_not_isolatable(site: Site) -> None:
    site.install("attr", isolatable=False)
    (problem,) = site.problems("[modules.attr]\nisolated = true\n")
    assert problem.startswith("plugins.toml:2: [modules.attr.isolated]: Plugin must run in the broker's process")


def test_boot_cannot_wait_for_run(site: Site) -> None:
    site.install("early", stage="boot", requires=("late",))
    site.install("late")
    (problem,) = site.problems("[modules.early]\n[modules.late]\n")
    assert 'cannot start after "late"' in problem


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        ({"stage": "late"}, 'Plugin.stage is "late"'),
        ({"requires": "kvs"}, "Plugin.requires must be a tuple of names, not 'kvs'"),
        ({"ranks": "1-"}, 'bad ranks "1-"'),
    ],
)
def test_a_class_that_declares_nonsense(site: Site, declared: dict[str, str], text: str) -> None:
    site.install("odd", **declared)
    (problem,) = site.problems("[modules.odd]\n")
    assert text in problem


def test_a_class_may_order_itself_by_an_absent_plugin_but_not_misspell_one(site: Site) -> None:
    site.install("heartbeat")
    site.install("a", after=("accounting",))
    site.install("b", after=("heartbeet",))
    (problem,) = site.problems("[modules.a]\n[modules.b]\n")
    assert problem.endswith('after names "heartbeet", which is no plugin; did you mean "heartbeat"?')


def test_what_is_no_plugin_class(site: Site) -> None:
    (problem,) = site.problems('[modules.x]\nuse = "os.path:join"\n')
    assert problem == "plugins.toml:2: [modules.x.use]: os.path:join is no plugin class for modules"


def test_two_distributions_with_one_name_are_ambiguous(site: Site) -> None:
    site.install("greeter", dist="one")
    site.install("greeter", dist="two")
    (problem,) = site.problems("[modules.greeter]\n")
    assert "two distributions install this plugin" in problem
    assert '"one"' in problem and '"two"' in problem


def test_a_site_replaces_a_builtin_of_the_same_name(site: Site) -> None:
    site.install("kvs", dist="site")
    site.install("kvs", dist="flux-kernel")
    (plugin,) = site.load("[modules.kvs]\n").plan(0, 1)
    assert plugin.entry.dist == "site"


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir(), lambda p: p.write_bytes(b"\xff\xfe")])
def test_a_file_that_cannot_be_read(site: Site, make: object) -> None:
    make(site.path)  # type: ignore[operator]
    (problem,) = site.load().check()
    assert str(problem).startswith(f"{site.path}: cannot be read: ")


def test_disabled_plugins_are_not_imported_but_must_exist(site: Site, tmp_path: Path) -> None:
    (site.folder / "bad.py").write_text("1 / 0\n")
    assert site.problems('[modules.bad]\nuse = "bad.py"\nenabled = false\n') == []
    assert len(site.problems("[modules.nothere]\nenabled = false\n")) == 1
