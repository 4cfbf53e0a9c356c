"""A shell started with --reconnect outlives a loss of its connection, and neither loses nor doubles output."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from shell_jobs import Jobs, RunningJob, jobspec, resources

from flux.kvs.requests import namespace_create_async
from flux.testing import wait_for

LONGEST = 60.0
SCRIPT = """
trap 'echo end; exit 3' TERM
echo begin
until test -e go; do sleep 0.05; done
echo two
while :; do sleep 0.05; done
"""
EXCHANGE = """
from flux.pmi.client import PMIClient
pmi = PMIClient.from_env()
pmi.init()
pmi.put(f"key{pmi.rank}", "value")
pmi.barrier()
print(pmi.get(f"key{1 - pmi.rank}"))
pmi.finalize()
"""


class Way:
    """A socket on the way to a broker, which can be cut.

    Attributes:
        last_word: once a request with these bytes has passed, no answer does any more.
    """

    def __init__(self, path: str, target: str) -> None:
        self.uri = f"local://{path}"
        self._target = target
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        self.last_word = b""
        self._mute = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(self._target)
            self._pairs.append((near, far))
            for source, sink, upstream in ((near, far, True), (far, near, False)):
                threading.Thread(target=self._carry, args=(source, sink, upstream), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, upstream: bool) -> None:
        try:
            while data := source.recv(65536):
                self._mute = self._mute or bool(upstream and self.last_word and self.last_word in data)
                if upstream or not self._mute:
                    sink.sendall(data)
        except OSError:
            return  # it was cut

    def cut(self) -> None:
        pairs, self._pairs = self._pairs, []
        self.last_word, self._mute = b"", False
        for end in itertools.chain.from_iterable(pairs):
            end.shutdown(socket.SHUT_RDWR)
            end.close()

    @property
    def is_mute(self) -> bool:
        return self._mute

    @property
    def is_used(self) -> bool:
        return bool(self._pairs)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()


class Shell:
    """A shell whose broker is at the end of a way.

    Args:
        command: of the job. cores: that it has on each broker. rank: of this shell, and its broker.
        last_word: of the way.
    """

    def __init__(
        self,
        jobs: Jobs,
        folder: Path,
        *options: str,
        command: Sequence[str] = ("sh", "-c", SCRIPT),
        cores: Sequence[int] = (1,),
        rank: int = 0,
        last_word: bytes = b"",
    ) -> None:
        self.way = Way(str(folder / "way"), jobs.instance.uri_of(rank).removeprefix("local://"))
        self.way.last_word = last_word
        (folder / "spy.py").write_text(
            "from flux.hooks.shell import hookimpl\n"
            "@hookimpl\ndef shell_reconnect(shell):\n    shell.post_event('back', {})\n"
        )
        (folder / "spy.lua").write_text(f'plugin.load {{ file = "{folder}/spy.py" }}')
        jobid = next(jobs._ids)
        namespace_create_async(jobs.handle, f"job-{jobid}").get()
        system = {"shell": {"options": {"userrc": str(folder / "spy.lua")}}, "cwd": str(folder)}
        spec = jobspec([*command], sum(cores), **system)
        job = {"id": jobid, "jobspec": spec, "R": resources([*cores]), "nshells": len(cores)}
        jobs.handle.rpc("jobservices.put", job, nodeid=0).get()
        env = {**os.environ, "FLUX_URI": self.way.uri, "FLUX_KVS_NAMESPACE": f"job-{jobid}"}
        words = [sys.executable, "-m", "flux_shell.main", *options, str(jobid)]
        self.process = subprocess.Popen(words, env=env, stderr=subprocess.PIPE, text=True)
        self.job = RunningJob(jobs.handle, jobid, [])

    def wait_output(self, text: str) -> None:
        wait_for(lambda: self.job.has_output() and text in self.job.output()["0"])

    def end(self) -> tuple[int, str]:
        """Exit code and stderr."""
        _, stderr = self.process.communicate(timeout=LONGEST)
        return self.process.returncode, stderr

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.way.close()


@pytest.fixture
def shell(jobs: Jobs, tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(jobs, tmp_path, "--reconnect")
    yield shell
    shell.close()


def test_a_cut_connection_is_made_again(shell: Shell, tmp_path: Path) -> None:
    shell.wait_output("begin")
    shell.way.cut()
    wait_for(lambda: shell.way.is_used)
    shell.job.wait_event("back")
    (tmp_path / "go").touch()
    shell.wait_output("two")
    shell.job.kill(signal.SIGTERM)  # by an event, which a new connection has to ask for
    code, stderr = shell.end()
    assert (code, shell.job.output()) == (3, {"0": "begin\ntwo\nend\n"}), stderr
    assert [name for name in shell.job.names() if name != "shell.task-exit"] == ["shell.init", "shell.start", "back"]


def test_what_was_committed_unheard_is_not_committed_again(shell: Shell, tmp_path: Path) -> None:
    shell.job.wait_event("shell.start")
    shell.wait_output("begin")  # the next commit is the one of what comes next
    shell.way.last_word = b"kvs.commit"
    (tmp_path / "go").touch()
    shell.wait_output("two")
    shell.way.cut()
    shell.job.wait_event("back")
    shell.job.kill(signal.SIGTERM)
    code, stderr = shell.end()
    assert (code, shell.job.output()) == (3, {"0": "begin\ntwo\nend\n"}), stderr
    assert "lost:" not in stderr


@pytest.mark.parametrize(("rank", "word"), [(0, b"shell-barrier"), (1, b"pmi-exchange")])
def test_what_other_shells_were_waited_for_is_asked_again(jobs2: Jobs, tmp_path: Path, rank: int, word: bytes) -> None:
    command = [sys.executable, "-c", EXCHANGE]
    shell = Shell(jobs2, tmp_path, "--reconnect", command=command, cores=[1, 1], rank=rank, last_word=word)
    try:
        other = RunningJob(jobs2.handle, shell.job.id, [jobs2._shell(shell.job.id, 1 - rank)])
        wait_for(lambda: shell.way.is_mute)
        shell.way.cut()
        code, stderr = shell.end()
        assert (code, other.wait()) == (0, [0]), stderr + other.stderr
        assert shell.job.output() == {"0": "value\n", "1": "value\n"}
    finally:
        shell.close()


def test_without_the_option_tasks_end_with_the_connection(jobs: Jobs, tmp_path: Path) -> None:
    shell = Shell(jobs, tmp_path)
    try:
        shell.wait_output("begin")
        shell.way.cut()
        code, stderr = shell.end()
        assert code == 3
        assert "lost connection to the broker" in stderr
    finally:
        shell.close()
