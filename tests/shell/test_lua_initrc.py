"""The Lua initrc: the shipped one, what scripts can reach and use up, plugins it loads (flux-shell-initrc(5))."""

from __future__ import annotations

from pathlib import Path

import pytest
from shell_jobs import Jobs
from test_hook_sequence import standalone

ENV = ["sh", "-c", "echo $GOT"]


def got(tmp_path: Path, initrc: str, ntasks: int = 1) -> list[str]:
    """What a script puts into the variable GOT, by task."""
    result = standalone(tmp_path, ENV, initrc, ntasks)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


# -- what a script must not do


@pytest.mark.parametrize(
    "script",
    [
        "while true do end",
        "while true do pcall (function () while true do end end) end",
        "coroutine.wrap (function () while true do end end) ()",
        'plugin.register { name = "p", handlers = {{ topic = "task.init", fn = function () while true do end end }} }',
    ],
)
def test_a_script_without_end_is_ended(tmp_path: Path, script: str) -> None:
    result = standalone(tmp_path, ["echo", "never"], script)
    assert result.returncode == 1
    assert "initrc.lua:1: the script takes more than" in result.stderr


def test_a_loop_in_a_sourced_file_is_told_with_that_file(tmp_path: Path) -> None:
    (tmp_path / "loop.lua").write_text("\nwhile true do end")
    result = standalone(tmp_path, ["echo", "never"], f'source "{tmp_path}/loop.lua"')
    assert (result.returncode, result.stdout) == (1, "")
    assert "/loop.lua:2: the script takes more than" in result.stderr
    assert "never" not in result.stdout


def test_a_script_in_another_encoding_is_run(tmp_path: Path) -> None:
    (tmp_path / "latin.lua").write_bytes(b'-- caf\xe9\nshell.setenv ("GOT", "it")\n')
    assert got(tmp_path, f'source "{tmp_path}/latin.lua"') == ["it"]


def test_a_folder_is_no_script(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    result = standalone(tmp_path, ["echo", "never"], f'source "{tmp_path}/folder"')
    assert (result.returncode, result.stdout) == (1, "")
    assert f"{tmp_path}/folder: Is a directory" in result.stderr and "Errno" not in result.stderr


def test_a_script_that_takes_too_much_memory_is_ended(tmp_path: Path) -> None:
    result = standalone(tmp_path, ["echo", "never"], 'local s = "x"; while true do s = s .. s end')
    assert (result.returncode, result.stdout) == (1, "")
    assert "memory" in result.stderr


@pytest.mark.parametrize(
    "expression",
    ["python", "debug.sethook", "debug.getupvalue", "os.exit", "package.loadlib", "shell.nosuch", 'require "python"'],
)
def test_what_scripts_cannot_reach(tmp_path: Path, expression: str) -> None:
    script = f'local ok, v = pcall (function () return {expression} end); shell.setenv ("GOT", tostring (ok and v))'
    assert got(tmp_path, script)[0] in ("nil", "false")


@pytest.mark.parametrize("name", ["shell.log", "shell.die", "plugin.load", "source", "task.getenv"])
def test_functions_are_lua_functions(tmp_path: Path, name: str) -> None:
    script = f"""plugin.register {{ name = "p", handlers = {{ {{ topic = "task.init",
        fn = function () task.setenv ("GOT", type ({name})) end }} }} }}"""
    assert got(tmp_path, script) == ["function"]


# -- errors


def test_an_error_tells_the_whole_path_line_and_callback(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    (folder / "part.lua").write_text(
        '\nplugin.register { name = "p", handlers = {\n'
        '  { topic = "task.init", fn = function () error ("oops") end } } }'
    )
    result = standalone(tmp_path, ["true"], f'source "{folder}/part.lua"')
    assert result.returncode == 1
    assert f"FATAL: p: task_init: {folder}/part.lua:3: oops" in result.stderr


def test_a_topic_that_is_misspelt_is_told(tmp_path: Path) -> None:
    script = 'plugin.register { name = "p", handlers = { { topic = "task.intt", fn = function () end } } }'
    told = standalone(tmp_path, ["true"], script).stderr
    assert "the shell itself calls no topic task.intt: did you mean task.init?" in told


def test_missing_arguments_are_told_in_the_words_of_lua(tmp_path: Path) -> None:
    told = standalone(
        tmp_path, ["true"], 'shell.log ()\nshell.log ("more", "than", "needed")\nshell.setenv ("A")'
    ).stderr
    assert "flux-shell[0]: nil\nflux-shell[0]: more\n" in told
    assert "initrc.lua:3: setenv A: a value is needed; unsetenv removes a variable" in told


def test_an_error_that_is_no_text_is_told_with_its_file(tmp_path: Path) -> None:
    assert "initrc.lua: the error is no text" in standalone(tmp_path, ["true"], "error ({})").stderr


def test_a_plugin_for_all_topics_may_log(tmp_path: Path) -> None:
    """The example of flux-shell(1): what it logs for shell.log is not passed to itself again."""
    script = """plugin.register { name = "test", handlers = {
        { topic = "*", fn = function (topic) shell.log ("topic=" .. topic) end } } }"""
    result = standalone(tmp_path, ["true"], script)
    told = [line.rpartition("=")[2] for line in result.stderr.splitlines()]
    assert (result.returncode, told[:2], told[-1]) == (0, ["shell.init", "shell.post-init"], "shell.exit")


def test_an_option_that_is_misspelt_is_told(tmp_path: Path) -> None:
    script = 'shell.options["cpu-afinity"] = "off"; shell.options.mine = 1'
    told = [line for line in standalone(tmp_path, ["true"], script).stderr.splitlines() if "no shell option" in line]
    assert told == ["flux-shell[0]: WARN: no shell option is named cpu-afinity: did you mean cpu-affinity?"]


# -- tables and functions


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ('shell.setenv ("GOT", "/b"); shell.prepend_path ("GOT", "/a"); shell.prepend_path ("GOT", "/b")', "/a:/b"),
        ('shell.setenv ("GOT", "x"); assert (shell.setenv ("GOT", "y", false))', "x"),
        ('shell.setenv ("GOT", "x"); shell.setenv ("GONE_A", "y"); shell.env_strip ("^GO")', ""),
        (
            'shell.options.mpi = "openmpi@5"; local n, v = shell.getopt_with_version "mpi"\n'
            'shell.setenv ("GOT", n .. "-" .. v)',
            "openmpi-5",
        ),
        (
            'local r = shell.get_rankinfo (0); shell.setenv ("GOT", r.id .. r.taskids .. r.resources.ncores)',
            "001",
        ),
        ('local n = 0; for k in pairs (shell.options) do n = n + 1 end; shell.setenv ("GOT", n)', "0"),
        (
            "shell.options.gauge = true; coprocess.define { name = 'gauge', command = { 'vmstat' } }\n"
            "local c = shell.options.coprocess; shell.options.coprocess = nil\n"
            'shell.setenv ("GOT", c.gauge.command[1] .. tostring (c.gauge.name))',
            "vmstatnil",
        ),
    ],
)
def test_helpers(tmp_path: Path, script: str, expected: str) -> None:
    assert got(tmp_path, script) == [expected]


def test_python_plugins_by_glob_with_conf(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(
            "from flux.hooks.shell import hookimpl\nconf = {}\n"
            f"@hookimpl\ndef task_init(task):\n    task.env['GOT'] = task.env.get('GOT', '') + '{name}' + conf['x']\n"
        )
    script = f'plugin.searchpath = "{tmp_path}"; plugin.load {{ file = "*.py", conf = {{ x = "!" }} }}'
    assert got(tmp_path, script) == ["one!two!"]


def test_topics_that_plugins_call_reach_lua_by_a_glob(tmp_path: Path) -> None:
    (tmp_path / "caller.py").write_text(
        "from flux.hooks.shell import hookimpl\n"
        "@hookimpl\ndef shell_init(shell):\n    shell.plugstack_call('tool.my-step')\n"
    )
    script = f"""
        plugin.load ("{tmp_path}/caller.py")
        plugin.register {{ name = "p", handlers = {{ {{ topic = "tool.*",
            fn = function (topic) shell.setenv ("GOT", topic) end }} }} }}"""
    assert got(tmp_path, script) == ["tool.my-step"]


def test_the_last_plugin_of_a_name_wins_over_a_builtin(tmp_path: Path) -> None:
    (tmp_path / "affinity.py").write_text(
        "from flux.hooks.shell import hookimpl\n@hookimpl\ndef task_init(task):\n    task.env['GOT'] = 'mine'\n"
    )
    script = f"""shell.options["cpu-affinity"] = "nonsense"; plugin.load ("{tmp_path}/affinity.py")"""
    assert got(tmp_path, script) == ["mine"]


# -- which initrc


def test_userrc_is_run_by_the_shipped_initrc_from_the_jobs_directory(jobs: Jobs, tmp_path: Path) -> None:
    (tmp_path / "mine.lua").write_text('shell.setenv ("GOT", shell.info.ntasks)')
    job, codes = jobs.run(ENV, cwd=str(tmp_path), options={"userrc": "mine.lua"})
    assert (codes, job.output()) == ([0], {"0": "1\n"})


@pytest.mark.parametrize("name", ["initrc.lua", "./initrc.lua", "prelude.lua", "*.lua", "all.lua"])
def test_userrc_is_of_the_jobs_directory_whatever_its_name(jobs: Jobs, tmp_path: Path, name: str) -> None:
    site, cwd = tmp_path / "site", tmp_path / "[cwd]"
    for directory in (site, cwd):
        directory.mkdir()
    (site / "initrc.lua").write_text("source (shell.options.userrc)")
    (site / "all.lua").write_text('shell.setenv ("GOT", "of the site")')
    (cwd / (name if "*" not in name else "any.lua")).write_text('shell.setenv ("GOT", "mine")')
    for environment in ({}, {"FLUX_SHELL_RC_PATH": str(site)}):
        environment = {"PATH": "/usr/bin:/bin", **environment}
        job, codes = jobs.run(ENV, cwd=str(cwd), environment=environment, options={"userrc": name})
        assert (codes, job.output()) == ([0], {"0": "mine\n"})


@pytest.mark.parametrize("name", ["nosuch.lua", "prelude.lua", "initrc.lua"])
def test_a_userrc_that_is_not_there_is_told_though_others_have_its_name(jobs: Jobs, tmp_path: Path, name: str) -> None:
    job, codes = jobs.run(ENV, cwd=str(tmp_path), options={"userrc": name})
    note = next(e["note"] for e in jobs.exceptions() if e["id"] == job.id)
    assert codes == [1] and f"source {tmp_path}/{name}: No such file or directory" in note


def test_rc_directories_and_version_selected_scripts(jobs: Jobs, tmp_path: Path) -> None:
    (tmp_path / "mpi").mkdir()
    files = {"all.lua": "A", "mpi/some.lua": "B", "mpi/some@2.lua": "C", "mpi/some@3.lua": "D"}
    for name, letter in files.items():
        (tmp_path / name).write_text(f'shell.setenv ("GOT", (shell.getenv "GOT" or "") .. "{letter}")')
    environment = {"PATH": "/usr/bin:/bin", "FLUX_SHELL_RC_PATH": str(tmp_path)}
    job, codes = jobs.run(ENV, environment=environment, options={"mpi": "some@2"})
    assert (codes, job.output()) == ([0], {"0": "ABC\n"})


def test_a_missing_userrc_ends_the_job(jobs: Jobs, tmp_path: Path) -> None:
    job, codes = jobs.run(ENV, options={"userrc": "nosuch.lua"})
    assert codes == [1]
    note = next(e["note"] for e in jobs.exceptions() if e["id"] == job.id)
    assert "initrc.lua:" in note
    assert "nosuch.lua: No such file or directory" in note


GOLDEN = """
shell.init
shell.post-init
task.init {first}
task.exec {first}
task.fork {first}
task.init {second}
task.exec {second}
task.fork {second}
shell.start
task.exit
task.exit
shell.finish
shell.tasks-complete
shell.exit
""".split("\n")[1:-1]
"""Of the first shell; others have no shell.tasks-complete."""


def test_hooks_of_a_job_of_two_nodes_and_four_tasks(jobs2: Jobs, tmp_path: Path) -> None:
    (tmp_path / "spy.lua").write_text("""
        local log = io.open (shell.rcpath .. "/" .. shell.info.rank, "a")
        local function note (topic)
          local rank = topic:match "^task" and topic ~= "task.exit" and " " .. task.info.rank or ""
          log:write (topic .. rank .. "\\n"); log:flush ()
        end
        plugin.register { name = "spy", handlers = {
          { topic = "shell.[!lr]*", fn = note }, { topic = "task.*", fn = note } } }
    """)
    job, codes = jobs2.run(["true"], [2, 2], cwd=str(tmp_path), options={"initrc": "spy.lua"})
    assert codes == [0, 0]
    for shell_rank, ranks in ((0, (0, 1)), (1, (2, 3))):
        topics = [topic for topic in GOLDEN if shell_rank == 0 or topic != "shell.tasks-complete"]
        expected = [topic.format(first=ranks[0], second=ranks[1]) for topic in topics]
        assert (tmp_path / str(shell_rank)).read_text().splitlines() == expected
    assert [name for name in job.names() if name != "shell.task-exit"] == ["shell.init", "shell.start"]


def test_the_shipped_initrc_loads_nothing_from_the_jobs_directory(jobs: Jobs, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("raise SystemExit('this is the program of a job, no plugin')\n")
    (tmp_path / "mine.lua").write_text('shell.setenv ("GOT", "mine")')
    job, codes = jobs.run(ENV, cwd=str(tmp_path), options={"userrc": "mine.lua"})
    assert (codes, job.output()) == ([0], {"0": "mine\n"})
