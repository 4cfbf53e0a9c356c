"""flux start -s as a test launcher: control socket, hosts by name, start modes, wrapped brokers, one line per error."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import flux
from flux.errors import FluxError
from flux.testing import Instance, wait_for

FLUX = os.path.join(os.path.dirname(sys.executable), "flux")
MINIMAL = f"--plugins={Path(__file__).parent.parent / 'kernel' / 'kernel.toml'}"


def start(*args: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "FLUX_URI"}
    return subprocess.run(
        [FLUX, "start", MINIMAL, *args], env=env, capture_output=True, text=True, timeout=50, stdin=subprocess.DEVNULL
    )


def config(tmp_path: Path, size: int) -> str:
    subprocess.run([FLUX, "keygen", str(tmp_path / "cert")], check=True, timeout=60)
    path = tmp_path / "conf.toml"
    endpoint = f"ipc://{tmp_path}/tbon-%h"
    path.write_text(
        f'[bootstrap]\ncurve_cert = "{tmp_path}/cert"\ndefault_bind = "{endpoint}"\ndefault_connect = "{endpoint}"\n'
        f'hosts = [{{ host = "fake[0-{size - 1}]" }}]\n'
    )
    return f"--config-path={path}"


class Control:
    def __init__(self, instance: Instance) -> None:
        self.handle = flux.Flux(f"local://{instance.rundir}/start")

    def __call__(self, method: str, **payload: Any) -> Any:
        return self.handle.rpc(f"start.{method}", payload).get()

    def pids(self) -> list[int]:
        return [proc["pid"] for proc in self("status")["procs"]]


def test_status_kill_and_wait() -> None:
    args = [MINIMAL, "--test-exit-mode=leader"]
    with Instance(3, args=args) as instance:
        control = Control(instance)
        assert control.pids() == [instance.broker_pid(rank) for rank in range(3)]
        waiting = control.handle.rpc("start.wait", {"rank": 2})
        control("kill", rank=2, signum=9)
        assert waiting.get() == {"exit_rc": 137}
        assert control("wait", rank=2) == {"exit_rc": 137}
        assert control.pids()[2] == -1
        control.handle.close()


@pytest.mark.parametrize(
    ("method", "payload", "number"),
    [
        ("kill", {"rank": 9, "signum": 0}, errno.EINVAL),
        ("kill", {"rank": 0, "signum": 999}, errno.EINVAL),
        ("kill", {"rank": 0}, errno.EPROTO),
        ("wait", {"rank": -1}, errno.EINVAL),
        ("run", {"rank": 0}, errno.EEXIST),
        ("nonsense", {}, errno.ENOSYS),
    ],
)
def test_wrong_requests_are_refused(flux_instance: Any, method: str, payload: dict[str, int], number: int) -> None:
    control = Control(flux_instance(size=1, args=(MINIMAL,)))
    with pytest.raises(FluxError) as caught:
        control(method, **payload)
    assert caught.value.errno == number
    assert len(control.pids()) == 1
    control.handle.close()


def online(instance: Instance) -> str:
    return str(instance.handle().rpc("groups.get", {"name": "broker.online"}).get()["members"])


def test_the_leader_first_and_the_others_later(tmp_path: Path) -> None:
    args = [MINIMAL, config(tmp_path, 3), "--test-hosts=fake[0-2]", "--test-start-mode=leader"]
    args.append("--test-exit-mode=leader")
    with Instance(3, args=args, attrs={"broker.quorum": "1"}) as instance:
        control = Control(instance)
        assert control.pids()[1:] == [-1, -1]
        assert instance.handle().attr_get("hostlist") == "fake[0-2]"
        for rank in (2, 1):
            control("run", rank=rank)
        wait_for(lambda: online(instance) == "0-2", what="all brokers online")
        control("kill", rank=1, signum=9)
        assert control("wait", rank=1) == {"exit_rc": 137}
        wait_for(lambda: online(instance) == "0,2", what="the loss of rank 1")
        control("run", rank=1)
        wait_for(lambda: online(instance) == "0-2", what="the return of rank 1")
        control.handle.close()


def test_the_leader_waits_in_pmi_for_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    args = [MINIMAL, "-s3", "--test-start-mode=leader", f"--rundir={folder}", "flux", "getattr", "size"]
    with subprocess.Popen(
        [FLUX, "start", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == (
            f"flux-start: rank 0 waits in PMI for the others: start.run at {folder}/start\n"
        )
        with flux.Flux(f"local://{folder}/start") as control:
            for rank in (2, 1):
                control.rpc("start.run", {"rank": rank}).get()
        assert process.communicate(timeout=50) == ("3\n", "")
    assert process.returncode == 0


@pytest.mark.parametrize(("mode", "code"), [("any", 9), ("leader", 3)])
def test_whose_exit_code_counts(mode: str, code: int, tmp_path: Path) -> None:
    failing = tmp_path / "fail.sh"
    failing.write_text("test $(flux getattr rank) = 0 || exit 9")
    program = ["-s2", f"--test-exit-mode={mode}", f"-Sbroker.rc3_path=sh {failing}", "sh", "-c", "exit 3"]
    env = {**os.environ, "FLUX_URI": ""}
    result = subprocess.run([FLUX, "start", *program], env=env, capture_output=True, text=True, timeout=50)
    assert result.returncode == code, result.stderr


def test_a_broker_that_pmi_has_served_is_not_started_again() -> None:
    with Instance(2, args=[MINIMAL, "--test-exit-mode=leader"]) as instance:
        control = Control(instance)
        control("kill", rank=1, signum=9)
        control("wait", rank=1)
        with pytest.raises(FluxError, match="needs --test-hosts"):
            control("run", rank=1)
        control.handle.close()


def test_pmi_is_used_in_spite_of_a_bootstrap_table(tmp_path: Path) -> None:
    program = "flux getattr size; flux getattr broker.boot-method"
    result = start("-s2", config(tmp_path, 5), "sh", "-c", program)
    assert result.stdout.split() == ["2", "pmi"], result.stderr


def test_wrapped_brokers_are_executed() -> None:
    result = start("-s2", "--wrap=env,WRAPPED=yes", "sh", "-c", "echo $WRAPPED; flux getattr size")
    assert (result.returncode, result.stdout.split()) == (0, ["yes", "2"]), result.stderr


@pytest.mark.parametrize("clique", ["[[0,2,1,1]]", "(vector,(0,2,1))", "per-broker"])
def test_who_shares_a_node_as_told(clique: str) -> None:
    result = start("-s2", f"--test-pmi-clique={clique}", "flux", "getattr", "broker.mapping")
    assert result.stdout.strip() == "[[0,2,1,1]]", result.stderr


def test_hosts_have_the_names_they_are_given() -> None:
    program = "flux getattr hostlist; flux getattr broker.mapping; printenv FLUX_FAKE_HOSTNAME || echo not inherited"
    result = start("-s3", "--test-hosts=a,b,a", "sh", "-c", program)
    assert result.stdout.splitlines() == ["a,b,a", "[[0,2,1,1],[0,1,1,1]]", "not inherited"], result.stderr


def test_a_wrong_attribute_is_refused_before_brokers_wait_for_each_other() -> None:
    result = start("-vv", "-s2", "-Snope=1", "true")
    assert result.returncode == 1
    assert "unknown attribute nope" in result.stderr
    assert "barrier_in" not in result.stderr


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["-s3", "--test-hosts=a[0-1]"], "--test-hosts names 2 hosts, --test-size is 3"),
        (["-s3", "--test-hosts=a["], "--test-hosts: "),
        (["--test-hosts=a"], "--test-hosts only makes sense with --test-size"),
        (["-s2", "--test-exit-timeout=soon"], "--test-exit-timeout: invalid"),
        (["-s2", "--test-pmi-clique=nonsense"], "neither single, per-broker, none nor a map"),
        (["-s2", "--test-pmi-clique=[[0,1,3,1]]"], "it maps 3 of 2 brokers"),
        (["-s2", "--wrap=nosuchcommand,-x"], "there is no command nosuchcommand"),
    ],
)
def test_wrong_test_options_are_named(args: list[str], says: str) -> None:
    result = start(*args, "true")
    assert result.returncode == 1
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("tbon.topo=nonsense", "unknown topology 'nonsense'"),
        ("log-levle=3", "unknown attribute log-levle"),
        ("broker.critical-ranks=0,4", "broker.critical-ranks=0,4: it takes an idset of ranks below 4"),
        ("broker.critical-ranks=x", "broker.critical-ranks=x: it takes an idset of ranks below 4"),
    ],
)
def test_what_is_wrong_is_said_once_for_all_brokers(setting: str, says: str) -> None:
    result = start("-s4", f"-S{setting}", "true")
    assert result.returncode == 1
    assert result.stderr.count("flux-broker:") == 1
    assert says in result.stderr


def test_caliper_is_accepted() -> None:
    result = start("-s1", "--caliper-profile=runtime-report", "true")
    assert result.returncode == 0
    assert "no Caliper" in result.stderr
