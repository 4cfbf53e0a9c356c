"""Signed requests to a job's subprocess server (RFC 42, Request Authentication): what is taken, what is refused."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flux import subprocess as rexec
from flux.job import JobID
from flux.job.curve import generate, sign
from flux.job.submit import envelope
from flux.rexec_signing import RequestSigner
from flux.testing import Instance

ME = os.getuid()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with keys."""
    path = tmp_path_factory.mktemp("home")
    generate(f"{path}/.flux/curve/sign")
    return path


@pytest.fixture
def running(instance: Callable[..., Instance], home: Path, monkeypatch: pytest.MonkeyPatch) -> Instance:
    """An instance that takes signatures made with the key of this user."""
    monkeypatch.setenv("HOME", str(home))
    running = instance(size=2, env={"HOME": str(home)})
    table = {"default-type": "curve", "max-ttl": "10m", "curve": {"public-key": f"{home}/.flux/curve/sign.pub"}}
    running.handle().rpc("config.load", {"sign": table}).get()
    return running


@contextmanager
def submitted(running: Instance) -> Iterator[str]:
    """A job whose shells ask for signatures."""
    jobid = running.run("flux", "submit", "-N2", "-o", "rexec.sign-required", "sleep", "1000").stdout.strip()
    running.run("flux", "job", "wait-event", "-p", "guest.exec.eventlog", jobid, "shell.start")
    yield jobid
    running.run("flux", "cancel", jobid)
    running.run("flux", "job", "wait-event", jobid, "clean")


@pytest.fixture
def job(running: Instance) -> Iterator[str]:
    with submitted(running) as jobid:
        yield jobid


def service_of(job: str) -> str:
    return f"{ME}-shell-{JobID(job).f58plain}.rexec"


def test_commands_sign_what_they_ask_of_such_a_job(running: Instance, job: str) -> None:
    big = "x" * 3_000_000
    result = running.run("flux", "exec", "-l", "-j", job, "sh", "-c", "wc -c; exit 3", input=big)
    assert (result.returncode, sorted(result.stdout.splitlines())) == (3, ["0: 3000000", "1: 3000000"]), result.stderr
    echoed = running.run("flux", "exec", "-r1", "-j", job, "cat", input=big)
    assert (echoed.returncode, echoed.stdout == big) == (0, True), echoed.stderr
    words = ("--bg", "--waitable", "--label=aside", "-r0", "sleep", "1000")
    started = running.run("flux", "exec", "-j", job, *words, stdin=subprocess.DEVNULL)
    service = f"--service={service_of(job)}"
    listed = running.run("flux", "sproc", "ps", service, "-r0", "-n", "-o", "{pid} {label}").stdout
    assert listed == f"{started.stdout.split()[1]} aside\n", started.stderr
    killed = running.run("flux", "sproc", "kill", service, "-r0", "-w", "TERM", "aside")
    assert killed.returncode == 143, killed.stderr


def test_programs_sign_too(running: Instance, job: str) -> None:
    handle = running.handle()
    place = {"service": service_of(job), "nodeid": 0}
    pid = rexec.rexec_bg(handle, ["sleep", "1000"], waitable=True, **place).get_pid()
    assert [process.pid for process in rexec.list(handle, **place).get_processes()] == [pid]
    with pytest.raises(PermissionError, match=r"request signature required: the job's option rexec\.sign-required"):
        rexec.kill(handle, 9, pid, sign=False, **place).get()
    rexec.kill(handle, 9, pid, **place).get()
    assert rexec.wait(handle, pid, **place).get_status() == 9


def test_other_requests_are_refused(running: Instance, job: str, tmp_path: Path) -> None:
    handle, topic = running.handle(), f"{service_of(job)}.list"
    generate(str(tmp_path / "other"))

    def ask(key: str = "", age: int = 0, userid: int = ME, content: bytes = b'{"topic":"%b"}' % topic.encode()) -> Any:
        text = envelope(content, userid, b"curve", b"curve.time\0i%d\0" % (int(time.time()) - age))
        signature = sign(text, *([key] if key else []))
        return send({"signature": f"{text.decode()}.{signature}"})

    def send(payload: dict[str, Any]) -> Any:
        return handle.rpc(topic, payload, nodeid=0).get()

    assert ask()["procs"] == []
    with pytest.raises(PermissionError, match="is not made with the key"):
        ask(key=str(tmp_path / "other"))
    with pytest.raises(PermissionError, match=r"older than sign\.max-ttl"):
        ask(age=3600)
    with pytest.raises(PermissionError, match=r"signed by user|no user|the public key of user"):
        ask(userid=ME + 1)
    for content in (b"{}", b"[]", b'{"topic":"rexec.list"}'):
        with pytest.raises(PermissionError, match=f"is no request to {topic}"):
            ask(content=content)
    for bad in ("", "a.b.c", (envelope(b"{}", ME, b"none") + b".none").decode()):
        with pytest.raises(PermissionError, match="signature is refused"):
            send({"signature": bad})
    with pytest.raises(OSError, match="signature is a string") as found:
        send({"signature": 1})
    assert found.value.errno == errno.EPROTO


def test_what_is_not_signed_does_not_count(running: Instance, job: str) -> None:
    """A broker that is not trusted may change what is beside the signature."""
    handle, service = running.handle(), service_of(job)
    pid = rexec.rexec_bg(handle, ["sleep", "1000"], waitable=True, service=service, nodeid=0).get_pid()
    signed = RequestSigner(handle)(f"{service}.kill", {"pid": pid, "signum": 15})
    handle.rpc(f"{service}.kill", {**signed, "pid": pid, "signum": 9}, nodeid=0).get()
    assert rexec.wait(handle, pid, service=service, nodeid=0).get_status() == 15


def test_without_a_key_there_is_a_hint(running: Instance, job: str, tmp_path: Path) -> None:
    result = running.run("flux", "exec", "-j", job, "true", input="", env={"HOME": str(tmp_path)})
    assert (result.returncode, "`flux keygen --sign` makes one" in result.stderr) == (1, True), result.stderr


@pytest.mark.parametrize("allowed", ["munge", "curve"])
def test_signatures_of_munge(instance: Callable[..., Instance], munge_socket: str, home: Path, allowed: str) -> None:
    """Who asks signs as the instance's configuration says, and a shell takes what it allows."""
    running = instance(size=2, env={"HOME": str(home)})
    table = {"default-type": "munge", "allowed-types": [allowed], "munge": {"socket-path": munge_socket}}
    running.handle().rpc("config.load", {"sign": table}).get()
    with submitted(running) as job:
        result = running.run("flux", "exec", "-l", "-j", job, "sh", "-c", "exit 3")
    if allowed == "munge":
        assert result.returncode == 3, result.stderr
    else:
        text = "signatures of type munge are not allowed here: sign.allowed-types"
        assert (result.returncode, text in result.stderr) == (126, True), result.stderr
