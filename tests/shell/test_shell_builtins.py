"""Coprocesses, batch scripts of older commands, topology files, tags and channels: what users find on flux-shell(1)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from shell_jobs import jobspec

from flux.testing import Instance
from flux_shell.builtins.hwloc import restrict
from flux_shell.cpusets import mask_of

RUN_TIME = 90  # seconds that a job may take on a busy machine


@pytest.fixture(scope="module")
def nodes() -> Iterator[Instance]:
    with Instance(size=2) as instance:
        yield instance


class Runner:
    """Runs jobs in a directory of their own."""

    def __init__(self, nodes: Instance, folder: Path) -> None:
        self._nodes = nodes
        self.folder = folder

    def __call__(self, *args: str) -> subprocess.CompletedProcess[str]:
        where = (f"--cwd={self.folder}",)
        return self._nodes.run("flux", "run", *where, *args, stdin=subprocess.DEVNULL, timeout=RUN_TIME)

    def plugin(self, text: str) -> str:
        """The option that loads a plugin of that text, which calls note(TEXT)."""
        note = f"def note(text):\n    with open('{self.folder}/notes', 'a') as file:\n        print(text, file=file)\n"
        (self.folder / "mine.py").write_text("from flux.hooks.shell import hookimpl\n" + note + text)
        (self.folder / "mine.lua").write_text(f'plugin.load {{ file = "{self.folder}/mine.py" }}')
        return f"userrc={self.folder}/mine.lua"

    def notes(self) -> list[str]:
        return (self.folder / "notes").read_text().splitlines()

    def files(self, pattern: str) -> dict[str, str]:
        return {path.name: path.read_text() for path in sorted(self.folder.glob(pattern))}


@pytest.fixture
def run(nodes: Instance, tmp_path: Path) -> Runner:
    return Runner(nodes, tmp_path)


# -- coprocess


def coprocess(**entry: object) -> str:
    return f"coprocess={json.dumps({'mon': entry})}"


WAITS = (
    'trap "echo end {{node.id}}; exit" TERM; echo begin {{node.id}}; touch up.{{node.id}}; while :; do sleep 0.1; done'
)
UNTIL_UP = ("sh", "-c", "until test -e up.0 && test -e up.1; do sleep 0.1; done")


def test_helpers_of_all_nodes_write_one_file_and_end_with_the_job(run: Runner) -> None:
    helper = coprocess(command=["sh", "-c", WAITS], output="mon-{{nnodes}}.log")
    result = run("-N2", "-o", helper, *UNTIL_UP)
    assert result.returncode == 0, result.stderr
    told = run.files("mon-2.log")["mon-2.log"].splitlines()
    lines = [line for line in told if line.startswith(("begin", "end"))]  # the shell may tell how its sleep ended
    assert sorted(lines) == ["begin 0", "begin 1", "end 0", "end 1"]


def test_a_name_that_differs_by_node_gives_each_its_file(run: Runner) -> None:
    helper = coprocess(
        command=["sh", "-c", "echo {{node.id}} $FLUX_JOB_NNODES; touch up.{{node.id}}"], output="n{{node.id}}.log"
    )
    assert run("-N2", "-o", helper, *UNTIL_UP).returncode == 0
    assert run.files("n?.log") == {"n0.log": "0 2\n", "n1.log": "1 2\n"}


def test_one_that_ignores_sigterm_is_killed_and_ranks_choose_nodes(run: Runner) -> None:
    script = "trap '' TERM; echo here; touch up.0 up.1; while :; do sleep 0.1; done"
    helper = coprocess(command=["sh", "-c", script], ranks="1")
    result = run("-N2", "-o", helper, "-o", "coprocess-kill-timeout=0.2s", *UNTIL_UP)
    assert (result.returncode, list(run.files("coproc-mon-*.log").values())) == (0, ["here\n"]), result.stderr


def test_a_helper_that_cannot_be_started_is_told_and_the_job_runs(run: Runner) -> None:
    result = run("-o", coprocess(command=["no-such-program"]), "echo", "ran")
    assert (result.returncode, result.stdout) == (0, "ran\n")
    assert "coprocess: mon: launch failed: No such file or directory" in result.stderr


def test_ranks_of_a_helper_that_are_not_there_are_told(run: Runner) -> None:
    result = run("-N2", "-o", coprocess(command=["true"], ranks="1,9"), "true")
    assert result.returncode == 0
    assert result.stderr.count("mon: ranks 9 are not there, the job has shells 0-1") == 1


def test_a_helper_of_lua_is_asked_for_by_its_name(run: Runner) -> None:
    (run.folder / "mon.lua").write_text(
        'coprocess.define { name = "mon", command = {"echo", "of {{id.dec}}"}, output = "mon" }'
    )
    userrc = f"userrc={run.folder}/mon.lua"
    assert run("-o", userrc, "true").returncode == 0
    assert run.files("mon") == {}
    assert run("-o", userrc, "-o", "mon", "sh", "-c", "until test -s mon; do sleep 0.1; done").returncode == 0
    assert run.files("mon")["mon"].startswith("of ")


@pytest.mark.parametrize(
    ("option", "word"),
    [
        ("coprocess=1", "non-empty object"),
        (coprocess(command="true"), "non-empty array"),
        (coprocess(command=[1]), "must be strings"),
        (coprocess(command=["true"], rank="0"), "did you mean coprocess.mon.ranks?"),
        (coprocess(command=["true"], ranks="x"), "invalid ranks"),
        ("hwloc.xml=1", "did you mean hwloc.xmlfile?"),
    ],
)
def test_a_bad_option_ends_the_job_and_says_why(run: Runner, option: str, word: str) -> None:
    result = run("-o", option, "echo", "never")
    assert (result.returncode, result.stdout) == (1, "")
    assert word in result.stderr


def test_verbose_says_what_is_done_and_must_be_a_number(run: Runner) -> None:
    told = run("-n2", "-o", "verbose", "true").stderr
    for text in ("1 shells, 2 tasks, here 0-1", "plugins: tmpdir", "task 1: started true as process"):
        assert text in told
    refused = run("-o", "verbose=x", "true")
    assert (refused.returncode, "Traceback" in refused.stderr) == (1, False)
    assert "shell option verbose=x: a number was expected" in refused.stderr


# -- hwloc


def test_tasks_find_the_topology_of_their_node(run: Runner) -> None:
    result = run(
        "-o", "hwloc.xmlfile", "--env=HWLOC_COMPONENTS=x86", "sh", "-c", "cat $HWLOC_XMLFILE; echo $HWLOC_COMPONENTS"
    )
    assert result.returncode == 0, result.stderr
    assert ElementTree.fromstring(result.stdout).find("object[@type='Machine']") is not None
    assert run("-o", "hwloc.restrict", "printenv", "HWLOC_XMLFILE").returncode == 1


def test_a_restricted_topology_has_no_other_cpus() -> None:
    xml = """<topology version="2.0"><object type="Machine" cpuset="0x3" complete_cpuset="0x3">
      <object type="NUMANode" nodeset="0x1" cpuset="0x2"/>
      <object type="Core" cpuset="0x1"><object type="PU" cpuset="0x1"/></object>
      <object type="Core" cpuset="0x2"><object type="PU" cpuset="0x2"/></object>
      <object type="PCIDev"/></object></topology>"""
    machine = ElementTree.fromstring(restrict(xml, {0, 70})).find("object")
    assert machine is not None
    assert [part.get("type") for part in machine.iter("object")] == ["Machine", "NUMANode", "Core", "PU", "PCIDev"]
    assert [mask_of(machine.attrib[name]) for name in ("cpuset", "complete_cpuset")] == [1, 1]


# -- batch


def submit(nodes: Instance, folder: Path, command: list[str], batch: object) -> subprocess.CompletedProcess[str]:
    spec = jobspec(command, 1, batch=batch, cwd=str(folder))
    (folder / "spec.json").write_text(json.dumps(spec))
    jobid = nodes.run("flux", "job", "submit", str(folder / "spec.json")).stdout.strip()
    return nodes.run("flux", "job", "attach", jobid, stdin=subprocess.DEVNULL, timeout=RUN_TIME)


def test_a_script_in_the_jobspec_is_run_by_an_instance(nodes: Instance, tmp_path: Path) -> None:
    batch = {
        "script": "#!/bin/sh\necho $1 $(flux getattr size) $(flux getattr test.it)\n",
        "broker-opts": ["-Stest.it=yes"],
    }
    result = submit(nodes, tmp_path, ["name", "arg"], batch)
    assert (result.returncode, result.stdout) == (0, "arg 1 yes\n"), result.stderr


def test_a_batch_without_script_is_refused(nodes: Instance, tmp_path: Path) -> None:
    result = submit(nodes, tmp_path, ["true"], {"broker-opts": []})
    assert result.returncode == 1
    assert "attributes.system.batch needs a script" in result.stderr


# -- tags


def test_tags_of_nodes_tasks_and_the_job(run: Runner) -> None:
    tags = (
        "{{name}} {{node.ntasks}} {{node.taskids}} {{task.index}} {{node.resources}} {{ size }} {{nope}} {{node.nope}}"
    )
    result = run("-n2", "-N2", "--label-io", "echo", tags)
    lines = sorted(result.stdout.splitlines())
    assert lines[1].startswith('1: echo 1 1 0 {"ncores":1,')
    assert lines[1].endswith("} 2 {{nope}} {{node.nope}}")


def test_a_bad_encoding_is_told(run: Runner) -> None:
    result = run("echo", "{{id.nope}}")
    assert result.stdout == "{{id.nope}}\n"
    assert "Invalid jobid encoding 'id.nope'" in result.stderr


def test_plugins_add_tags_and_render_for_other_shells(run: Runner) -> None:
    option = run.plugin(
        "@hookimpl\ndef mustache_render(tag, task):\n"
        "    if tag.startswith('my.'):\n        return f'{tag[3:]}-{task.rank if task else None}'\n"
        "@hookimpl\ndef shell_init(shell):\n"
        "    shell.setenv('ALL', ' '.join(shell.rank_mustache_render(r, '{{node.id}}{{my.x}}') for r in (0, 1)))\n"
        "    shell.setenv('PER', ' '.join(str(shell.mustache_is_per_rank(t)) for t in ('{{node.id}}', '{{id}}')))\n"
        "    shell.setenv('XML', str(shell.get_hwloc_xml() is shell.get_hwloc_xml()))\n"
    )
    result = run("-N2", "-o", option, "sh", "-c", "echo {{my.tag}} $ALL $PER $XML")
    assert sorted(result.stdout.splitlines()) == [f"tag-{rank} 0x-None 1x-None True False True" for rank in (0, 1)]


# -- channels, and the end of all tasks


def test_a_plugin_takes_a_channel_and_a_stream(run: Runner) -> None:
    option = run.plugin(
        "@hookimpl(tryfirst=True)\ndef task_init(shell, task):\n"
        "    for name in ('TOOL_FD', 'stderr'):\n"
        "        task.channel_subscribe(name, lambda data, eof, name=name: note(f'{name} {data.decode()!r} {eof}'))\n"
        "    try:\n        task.channel_subscribe('TOOL_FD', print)\n"
        "    except FileExistsError as exc:\n        note(exc)\n"
        "@hookimpl\ndef task_fork(shell, task):\n"
        "    try:\n        task.channel_subscribe('late', print)\n"
        "    except OSError as exc:\n        note(exc)\n"
    )
    result = run("-o", option, "sh", "-c", "echo out; echo tool >/dev/fd/$TOOL_FD; echo err >&2")
    assert (result.returncode, result.stdout) == (0, "out\n"), result.stderr
    assert sorted(run.notes()) == [
        "TOOL_FD '' True",
        r"TOOL_FD 'tool\n' False",
        "stderr '' True",
        r"stderr 'err\n' False",
        "task 0 is started already: there is no channel late to subscribe to",
        "the channel TOOL_FD of task 0 has a subscriber already",
    ]


def test_the_first_shell_learns_once_that_all_tasks_have_ended(run: Runner) -> None:
    option = run.plugin(
        "@hookimpl\ndef shell_finish(shell):\n    note(f'finish {shell.rank}')\n"
        "@hookimpl\ndef shell_tasks_complete(shell):\n    note(f'complete {shell.rank}')\n"
    )
    assert run("-N2", "-o", option, "true").returncode == 0
    assert sorted(run.notes()) == ["complete 0", "finish 0", "finish 1"]
    assert run.notes()[0] != "complete 0"


# -- files, input


def test_archives_are_staged_in_over_what_is_there(run: Runner, nodes: Instance) -> None:
    """Two shells at once, of one host; two archives with the same file; the same job again."""
    for name, text in (("first", "old"), ("second", "new")):
        (run.folder / "f").write_text(text)
        nodes.run("flux", "archive", "create", "-n", name, "-C", str(run.folder), "f", check=True)
    target = run.folder / "target"
    target.mkdir()
    options = ("-N2", "-o", f"stage-in.destination=local:{target}", "-o", "stage-in.names=first,second")
    for _ in range(2):
        result = run(*options, "cat", "target/f")
        assert (result.returncode, result.stdout) == (0, "newnew")
    assert [path.name for path in target.iterdir()] == ["f"]
    within = run("-o", "stage-in.names=first,second", "cat", "{{tmpdir}}/f")
    assert (within.returncode, within.stdout) == (0, "new")


@pytest.mark.parametrize(("place", "reason"), [("missing", "No such file or directory"), ("f", "Not a directory")])
def test_a_destination_is_not_made(run: Runner, place: str, reason: str) -> None:
    (run.folder / "f").touch()
    result = run("-o", f"stage-in.destination={run.folder}/{place}", "true")
    assert result.returncode == 1
    assert f"chdir {run.folder}/{place}: {reason}" in result.stderr
    assert not (run.folder / "missing").exists()


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ('{"y":5}', "attributes.system.files: y is an object with mode and data, not 5"),
        ('{"y":{"data":"x"}}', "attributes.system.files: y has no mode"),
        ("[1]", "attributes.system.files"),
    ],
)
def test_files_of_the_wrong_shape_are_named(run: Runner, files: str, text: str) -> None:
    result = run(f"--setattr=system.files={files}", "true")
    assert result.returncode == 1
    assert text in result.stderr
    assert "Traceback" not in result.stderr


def test_input_for_no_task_of_the_job_is_refused(nodes: Instance) -> None:
    result = nodes.run("flux", "run", "-n2", "--input=7", "cat", input="lost\n", timeout=RUN_TIME)
    assert (result.returncode, result.stdout) == (1, "")
    assert "stdin: input is for tasks 7, but the job has tasks 0-1 alone" in result.stderr
    assert "Traceback" not in result.stderr
    result = nodes.run("flux", "run", "-n2", "--input=1,7", "cat", input="kept\n", timeout=RUN_TIME)
    assert (result.returncode, result.stdout) == (0, "kept\n")
