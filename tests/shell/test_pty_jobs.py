"""Terminals of tasks, process tables and limits of output (flux-shell(1))."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from shell_jobs import Jobs, RunningJob

from flux.constants import FLUX_RPC_STREAMING
from flux.errors import FluxError
from flux.proctable import decode
from flux.testing import wait_for


class Terminal:
    """A client of the terminal of task 0."""

    def __init__(self, jobs: Jobs, job: RunningJob, mode: str = "rw") -> None:
        self._handle = jobs.instance.handle()  # a client is known by its connection
        self._topic = f"{job.wait_event('shell.init')['service']}.terminus.0"
        request = {"type": "attach", "mode": mode, "winsize": {"rows": 11, "cols": 33}}
        self._rpc = self._handle.rpc(self._topic, request, nodeid=0, flags=FLUX_RPC_STREAMING)
        assert self._next() == {"type": "attach"}
        self.shown = ""
        self.exit: dict[str, Any] = {}

    def _next(self) -> dict[str, Any]:
        answer = self._rpc.get()
        self._rpc.reset()
        return answer

    def send(self, **request: Any) -> None:
        self._handle.rpc(self._topic, request, nodeid=0).get()

    def read_until(self, text: str) -> None:
        while text not in self.shown:
            self.shown += self._next()["data"]

    def read_to_end(self) -> None:
        while (answer := self._next())["type"] == "data":
            self.shown += answer["data"]
        self.exit = answer
        with pytest.raises(FluxError):  # the end of the stream
            self._rpc.get()


def test_each_task_has_a_terminal_and_its_output_is_kept(jobs: Jobs) -> None:
    script = "test -t 0 && test -t 1 && test -t 2 && ps -o tty= -p $$ | grep -q pts && printf yes"
    job, codes = jobs.run(["sh", "-c", script], [2], options={"pty": 1})
    assert codes == [0]
    assert job.output() == {"0": "yes", "1": "yes"}
    assert job.eofs() == 4


def test_an_interactive_terminal(jobs: Jobs) -> None:
    script = "read a; stty size; read b; echo got $b; stty size; exit 3"
    job = jobs.start(["sh", "-c", script], options={"pty": {"interactive": 1}})
    assert job.wait_event("shell.init")["pty"] == "terminus.0"
    terminal = Terminal(jobs, job)
    terminal.send(type="data", data="go\n")
    terminal.read_until("11 33\r\n")
    with pytest.raises(FileExistsError):
        terminal.send(type="attach", mode="rw", winsize={"rows": 1, "cols": 1})
    terminal.send(type="resize", winsize={"rows": 22, "cols": 44})
    terminal.send(type="data", data="text\n")
    terminal.read_to_end()
    assert "got text\r\n22 44\r\n" in terminal.shown
    assert terminal.exit == {"type": "exit", "message": "session exiting", "status": 3 << 8}
    assert job.wait() == [3]
    assert job.output() == {"0": ""}


def test_who_detaches_leaves_the_terminal_to_others(jobs: Jobs) -> None:
    job = jobs.start(["cat"], options={"pty": {"interactive": 1, "capture": 1}})
    first, second = Terminal(jobs, job), Terminal(jobs, job, "ro")
    first.send(type="data", data="one\n")
    second.send(type="data", data="not to be seen\n")
    for terminal in (first, second):
        terminal.read_until("one\r\none\r\n")
    first.send(type="detach")
    first.read_to_end()
    assert first.exit["message"] == "Client requested detach"
    with pytest.raises(FileNotFoundError, match="attach to the terminal first"):
        first.send(type="data", data="two\n")
    Terminal(jobs, job, "wo").send(type="data", data="\x04")
    second.read_to_end()
    assert job.wait() == [0]
    assert job.output() == {"0": "one\r\none\r\n"}


@pytest.mark.parametrize(
    ("option", "text"),
    [({"colour": 1}, "pty takes ranks, capture, interactive"), ({"ranks": "x"}, "invalid shell pty option: pty.ranks")],
)
def test_options_of_terminals_that_are_wrong(jobs: Jobs, option: dict[str, Any], text: str) -> None:
    job, codes = jobs.run(["true"], options={"pty": option})
    assert codes == [1]
    assert text in next(e["note"] for e in jobs.exceptions() if e["id"] == job.id)


def test_process_table_of_a_job_on_two_nodes(jobs2: Jobs) -> None:
    job = jobs2.start(["sleep", "1000"], [2, 1])
    service = job.wait_event("shell.init")["service"]
    job.wait_event("shell.start")
    table = decode(jobs2.handle.rpc(f"{service}.proctable", {}, nodeid=0).get())
    assert [(p.taskid, p.executable, p.shell_rank) for p in table] == [
        (0, "sleep", 0),
        (1, "sleep", 0),
        (2, "sleep", 1),
    ]
    assert all(Path(f"/proc/{p.pid}/comm").read_text() == "sleep\n" for p in table)
    job.kill(signal.SIGKILL)
    assert job.wait() == [137, 137]


def test_tasks_stop_in_exec_for_a_debugger(jobs: Jobs) -> None:
    job = jobs.start(["echo", "ran"], options={"stop-tasks-in-exec": 1})
    service = job.wait_event("shell.init")["service"]
    assert job.wait_event("shell.start")["sync"] is True
    (process,) = decode(jobs.handle.rpc(f"{service}.proctable", {}, nodeid=0).get())
    wait_for(lambda: "T (stopped)" in Path(f"/proc/{process.pid}/status").read_text())
    assert Path(f"/proc/{process.pid}/comm").read_text() == "echo\n"
    job.kill(signal.SIGCONT)
    assert job.wait() == [0]
    assert job.output() == {"0": "ran\n"}


def test_output_above_the_limit_is_left_out(jobs: Jobs) -> None:
    job, codes = jobs.run(["seq", "1", "1000"], options={"output": {"limit": "1K"}})
    assert codes == [0]
    assert 1000 < len(job.output()["0"]) <= 1024
    log = [event.context["message"] for event in job.eventlog("output") if event.name == "log"]
    assert log == ["stdout will be truncated, 1K limit exceeded", "stdout: 2869 of 3893 bytes truncated"]


@pytest.mark.parametrize("limit", ["much", 0, "2G"])
def test_a_limit_of_output_that_is_none(jobs: Jobs, limit: object) -> None:
    job, codes = jobs.run(["true"], options={"output": {"limit": limit}})
    assert codes == [1]
    assert f"Invalid KVS output.limit={limit}" in next(e["note"] for e in jobs.exceptions() if e["id"] == job.id)


def test_tags_of_output_files(jobs: Jobs, tmp_path: Path) -> None:
    path = tmp_path / "{{nnodes}}-{{ntasks}}-{{node.broker_rank}}-{{node.cores}}-{{node.ncores}}-{{other}}"
    jobs.run(["true"], [2], options={"output": {"stdout": {"type": "file", "path": str(path)}}})
    assert [found.name for found in tmp_path.iterdir()] == ["1-2-0-0-1-2-{{other}}"]


def test_input_above_the_limit_ends_the_job(jobs: Jobs) -> None:
    job = jobs.start(["cat"], options={"input": {"limit": "1K"}})
    service = job.wait_event("shell.init")["service"]
    io = {"stream": "stdin", "rank": "all", "data": "x" * 2000}
    jobs.handle.rpc(f"{service}.stdin", io, nodeid=0)
    assert job.wait() == [1]
    assert "stdin exceeds 1K limit" in next(e["note"] for e in jobs.exceptions() if e["id"] == job.id)


def test_much_input_waits_for_a_task_that_reads_late(jobs: Jobs, tmp_path: Path) -> None:
    fifo = tmp_path / "go"
    job = jobs.start(["sh", "-c", f"until test -e {fifo}; do sleep 0.05; done; wc -c"])
    service = job.wait_event("shell.init")["service"]
    io = {"stream": "stdin", "rank": "all", "data": "x" * 65536}
    sent = [jobs.handle.rpc(f"{service}.stdin", io, nodeid=0) for _ in range(40)]
    wait_for(lambda: sent[0].is_ready() or sent[0].get() is None)
    assert not sent[-1].is_ready()
    fifo.touch()
    for rpc in sent:
        rpc.get()
    jobs.handle.rpc(f"{service}.stdin", {"stream": "stdin", "rank": "all", "eof": True}, nodeid=0).get()
    assert job.wait() == [0]
    assert job.output() == {"0": f"{40 * 65536}\n"}
