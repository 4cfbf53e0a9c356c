"""`flux proxy`, `flux relay`, ssh:// and `flux uri`. The "ssh" of these tests runs its words right here."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import flux
from flux.errors import FluxError
from flux.testing import Instance, wait_for
from flux.uri import FluxURIResolver, JobURI
from flux_plugins.connectors.ssh import Target

MINIMAL = f"--plugins={Path(__file__).parent.parent / 'kernel' / 'kernel.toml'}"
RunningInstance = Callable[..., Instance]
RunFlux = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for ssh that notes its words and runs the command on this host."""
    script = tmp_path / "ssh"
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/log\n[ "$1" = -p ] && shift 2\nshift\nexec sh -c "$*"\n')
    script.chmod(0o755)
    monkeypatch.setenv("FLUX_SSH", str(script))
    return tmp_path / "log"


@pytest.fixture
def run(instance: RunningInstance, ssh: Path) -> RunFlux:
    running = instance(size=2)
    return lambda *words, **options: running.run("flux", *words, env={"FLUX_SSH": os.environ["FLUX_SSH"]}, **options)


def remote(running: Instance) -> str:
    return f"ssh://me@far:2222{running.uri.removeprefix('local://')}"


def test_ssh_uri_runs_relay_with_the_brokers_own_flux(instance: RunningInstance, ssh: Path) -> None:
    running = instance(size=2)
    with flux.Flux(remote(running)) as handle:
        assert handle.attr_get("size") == "2"
    words = ssh.read_text().split()
    assert words[:3] == ["-p", "2222", "me@far"]
    assert words[-3:] == ["flux", "relay", running.uri.removeprefix("local://")]
    link = Path(running.rundir) / "bin" / "flux"
    assert f"PATH={link.parent}:" in ssh.read_text()
    assert os.access(link, os.X_OK)


@pytest.mark.parametrize("text", ["host", "/path", "host:x/path", "-oProxyCommand=x/path"])
def test_malformed_ssh_uris_are_refused(text: str) -> None:
    with pytest.raises(FluxError, match="should look like") as caught:
        Target.parse(text)
    assert caught.value.errno == errno.EINVAL


def test_relay_to_nowhere_and_ssh_that_is_not_there_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FluxError, match="No such file"):
        flux.Flux("ssh://far/no/such/socket")
    monkeypatch.setenv("FLUX_SSH", "/no/such/ssh")
    with pytest.raises(FluxError, match="/no/such/ssh: No such file"):
        flux.Flux("ssh://far/no/such/socket")


@pytest.mark.parametrize("form", ["local", "ssh"])
def test_proxy_runs_a_command_elsewhere_and_exits_as_it_does(
    instance: RunningInstance, run: RunFlux, form: str
) -> None:
    uri = instance(size=2).uri if form == "local" else remote(instance(size=2))
    script = "flux getattr size; echo $FLUX_URI $FLUX_PROXY_REMOTE; exit 7"
    env = f"PATH={os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    result = run("proxy", uri, "env", env, "sh", "-c", script)
    size, where = result.stdout.splitlines()
    assert (result.returncode, size) == (7, "2")
    socket_path, *host = where.removeprefix("local://").split()
    assert "flux-proxy-" in socket_path and not os.path.exists(os.path.dirname(socket_path))
    assert host == ([] if form == "local" else ["far"])


def test_clients_of_a_proxy_get_their_own_answers_events_and_requests(
    instance: RunningInstance, run: RunFlux, tmp_path: Path
) -> None:
    script = tmp_path / "clients.py"
    script.write_text(
        "import flux\n"
        "a, b = flux.Flux(), flux.Flux()\n"
        "for handle in (a, b): handle.event_subscribe('proxied.')\n"
        "b.event_unsubscribe('proxied.')\n"
        "assert a.event_publish('proxied.x', {'n': 1}) > 0\n"
        "assert a.event_recv().payload == {'n': 1}\n"
        "a.service_register('echo').get()\n"
        "def answer(handle, watcher, msg, args):\n"
        "    handle.respond(msg, msg.payload)\n"
        "    watcher.stop()\n"
        "a.msg_watcher_create(answer, topic_glob='echo.*').start()\n"
        "call = b.rpc('echo.it', {'x': 'y'}, nodeid=0)\n"
        "a.reactor_run()\n"
        "assert call.get() == {'x': 'y'}\n"
        "a.service_unregister('echo').get()\n"
        "try:\n"
        "    b.rpc('echo.it').get()\n"
        "except OSError as exc:\n"
        "    print(exc.errno)\n"
        "print(b.event_recv if b.recv(8, flags=4) is None else 'unwanted event')\n"
        "a.barrier('proxied', 2)\n"
        "a.rpc('barrier.ping', {}, nodeid=0).get()\n"
        "waiting = b.barrier('proxied', 2)\n"
        "waiting.get()\n"
    )
    result = run("proxy", instance(size=2).uri, sys.executable, str(script))
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"{errno.ENOSYS}\n<bound method")


def test_proxy_ends_what_its_clients_have_open(instance: RunningInstance, run: RunFlux) -> None:
    running = instance(size=2)
    script = "import flux; h = flux.Flux(); h.barrier('gone', 2); h.rpc('barrier.ping', {}, nodeid=0).get()"
    assert run("proxy", running.uri, sys.executable, "-c", script).returncode == 0
    handle = running.handle()
    wait_for(lambda: handle.rpc("barrier.stats-get").get()["waiting"] == {}, what="the end of the barrier")


def test_proxy_to_nobody(run: RunFlux) -> None:
    for uri in ("local:///no/such", "nonsense:x", "f1"):
        assert run("proxy", uri, "true").returncode == 1


def test_uri_of_jobs_and_processes(instance: RunningInstance, run: RunFlux) -> None:
    running = instance(size=2)
    jobid = run("submit", "sleep", "1000").stdout.strip()
    assert "has no URI" in run("uri", jobid).stderr
    decimal = int(flux.job.JobID(jobid))
    memo = {"uri": remote(running)}
    running.handle().rpc("job-manager.memo", {"id": decimal, "memo": memo}).get()
    assert run("uri", "--wait", jobid).stdout == f"{remote(running)}\n"
    assert run("uri", "--local", f"jobid:{jobid}").stdout == f"{running.uri}\n"
    assert run("proxy", jobid, "sh", "-c", "echo $FLUX_PROXY_REMOTE").stdout == "far\n"
    run("cancel", jobid)
    process = subprocess.Popen(["sleep", "1000"], env=running.env)
    assert run("uri", f"pid:{process.pid}").stdout == f"{running.uri}\n"
    process.kill()
    process.wait()
    for wrong in ("pid:x", "pid:999999999", "lsf:1", "f1", "!"):
        assert run("uri", wrong).returncode == 1


def test_uris_change_between_their_forms() -> None:
    assert JobURI("ssh://me@host:22/tmp/x/local-0").local == "local:///tmp/x/local-0"
    assert JobURI("local:///tmp/x", remote_hostname="h").remote == "ssh://h/tmp/x"
    assert JobURI("local:///tmp/x").remote.startswith("ssh://")
    assert JobURI("ssh://h/x").remote == "ssh://h/x"
    found = FluxURIResolver().resolve("local:///tmp/x")
    assert (found.scheme, found.uri) == ("local", "local:///tmp/x")
    with pytest.raises(ValueError, match="neither a URI, a job id"):
        FluxURIResolver().resolve("bogus:1")


def test_uri_of_instances_by_path(instance: RunningInstance, run: RunFlux) -> None:
    running = instance(size=2)
    for here in (".", "..", "/", "jobid:/", "./.."):
        assert run("uri", here).stdout == f"{running.uri}\n"
    assert run("uri", ".?remote").stdout == f"{JobURI(running.uri).remote}\n"
    assert run("uri", "--local", "jobid:.?remote").stdout == f"{running.uri}\n"
    inside = 'flux uri ..; flux uri /; flux uri "?local" >/dev/null && echo $FLUX_URI; flux uri .'
    above, root, own, same = run("start", MINIMAL, "sh", "-c", inside).stdout.split()
    assert own == same
    assert above == root
    wrong = run("uri", ".?nowhere")
    assert (wrong.returncode, "should be local, remote or wait" in wrong.stderr) == (1, True)


def test_uri_of_a_broker_by_its_pid_and_of_a_slurm_job(
    instance: RunningInstance, run: RunFlux, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = instance(size=2)
    assert run("uri", f"pid:{running.broker_pid(0)}").stdout == f"{running.uri}\n"
    process = subprocess.Popen(["sleep", "1000"], env=running.env)
    listed = f'echo PID JOBID STEPID; echo 999999999 7 0; echo {process.pid} "$2" 0'
    (tmp_path / "srun").write_text('#!/bin/sh\nwhile [ "$1" != sh ]; do shift; done\nexec "$@"\n')
    (tmp_path / "scontrol").write_text(f"#!/bin/sh\n{listed}\n")
    for name in ("srun", "scontrol"):
        (tmp_path / name).chmod(0o755)
    before = os.environ["PATH"]
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.path.dirname(sys.executable)}:{before}")
    path = {**running.env, "PATH": os.environ["PATH"]}
    result = subprocess.run(
        [running.command[0], "uri", "slurm:7"], env=path, capture_output=True, text=True, timeout=60
    )
    assert (result.stdout, result.stderr) == (f"{JobURI(running.uri).remote}\n", "")
    process.kill()
    process.wait()
    assert "no id of a Slurm job" in run("uri", "slurm:x").stderr
