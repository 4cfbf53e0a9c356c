"""flux config, SIGHUP, flux uptime and flux shutdown as an administrator uses them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flux.testing import Instance, wait_for

FLUX = os.path.join(os.path.dirname(sys.executable), "flux")
MINIMAL = f"--plugins={Path(__file__).parent.parent / 'kernel' / 'kernel.toml'}"
BROKEN = "[tbon]\na = \n"
GOOD = '[tbon]\na = 1\n[policy]\nx = 1.5\nt = "2m"\nl = [1, 2]\n'
REFUSER = """
from errno import EINVAL
from flux.errors import FluxError
from flux.module import Module

class Refuser(Module):
    name = "refuser"

    def reconfigured(self, conf):
        if "heartbeat" in conf:
            raise FluxError(EINVAL, "no heartbeat, please")
"""


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    file = tmp_path / "conf" / "site.toml"
    file.parent.mkdir()
    file.write_text(GOOD)
    return file


@pytest.fixture
def running(conf: Path) -> Iterator[Instance]:
    with Instance(size=2, args=[MINIMAL, f"--config-path={conf.parent}"]) as instance:
        yield instance


def output(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout.rstrip("\n")


def test_get_prints_values_by_type(running: Instance) -> None:
    def get(*args: str) -> subprocess.CompletedProcess[str]:
        return running.run("flux", "config", "get", *args)

    assert output(get("tbon")) == '{"a":1}'
    assert output(get("--type=real", "policy.x")) == "1.5"
    assert output(get("--type=fsd-integer", "policy.t")) == "120"
    assert output(get("--type=fsd-real", "policy.t")) == "120.000000"
    assert output(get("--type=array", "policy.l")) == "[1,2]"
    assert output(get("--default=7", "policy.none")) == "7"
    assert "does not have the requested type" in get("--type=integer", "policy.x").stderr
    assert get("policy.x.y").stderr == "flux-config: policy.x.y is not set\n"
    quiet = get("--quiet", "policy.none")
    assert (quiet.returncode, quiet.stderr) == (1, "")


def test_every_rank_follows_a_change(running: Instance) -> None:
    output(running.run("flux", "config", "set", "tbon.b", "[3]"))
    follower = running.handle(1)
    wait_for(lambda: follower.rpc("config.get").get()["tbon"] == {"a": 1, "b": [3]}, what="news on rank 1")
    output(running.run("flux", "config", "unset", "tbon.b"))
    wait_for(lambda: follower.rpc("config.get").get()["tbon"] == {"a": 1}, what="news on rank 1")
    refused = running.run("flux", "config", "reload", rank=1)
    assert "only be changed on rank 0" in refused.stderr
    output(running.run("flux", "config", "reload", "--follower-noop", rank=1))


def test_reload_names_file_and_line_and_keeps_the_old_one(running: Instance, conf: Path) -> None:
    conf.write_text(BROKEN)
    refused = running.run("flux", "config", "reload")
    assert refused.returncode == 1
    assert f"Config file error: configuration {conf}" in refused.stderr and "line 2" in refused.stderr
    assert output(running.run("flux", "config", "get", "tbon.a")) == "1"


def test_hangup_reloads(running: Instance, conf: Path) -> None:
    conf.write_text("[tbon]\na = 2\n")
    handle = running.handle()
    os.kill(int(handle.attr_get("broker.pid")), signal.SIGHUP)
    wait_for(lambda: handle.rpc("config.get").get() == {"tbon": {"a": 2}}, what="the new configuration")


def test_a_service_that_refuses_is_named_and_nothing_changes(running: Instance, tmp_path: Path) -> None:
    module = tmp_path / "refuser.py"
    module.write_text(REFUSER)
    output(running.run("flux", "module", "load", str(module)))
    refused = running.run("flux", "config", "load", input="[heartbeat]\nperiod = 1\n")
    assert refused.returncode == 1
    assert "refuser refuses the configuration: no heartbeat, please" in refused.stderr
    assert output(running.run("flux", "config", "get", "tbon.a")) == "1"
    output(running.run("flux", "config", "load", input='{"tbon": {"a": 5}}'))
    assert output(running.run("flux", "config", "get")) == '{"tbon":{"a":5}}'


RECORDER = """
from errno import EINVAL
from flux.errors import FluxError
from flux.module import Module

class Recorder(Module):
    name = "recorder"
    seen = []

    def reconfigured(self, conf):
        self.seen.append(conf)
        if str(self.rank) == conf.get("vendor", {}).get("refuse"):
            raise FluxError(EINVAL, "not here")

    def stats(self):
        return {"seen": self.seen}
"""


def test_all_ranks_change_or_none(running: Instance, tmp_path: Path) -> None:
    module = tmp_path / "recorder.py"
    module.write_text(RECORDER)
    for rank in (0, 1):
        output(running.run("flux", "module", "load", str(module), rank=rank))

    def seen(rank: int) -> list[dict[str, object]]:
        found: list[dict[str, object]] = running.handle(rank).rpc("recorder.stats-get").get()["seen"]
        return found

    def current(rank: int) -> object:
        return running.handle(rank).rpc("config.get").get().get("vendor")

    refused = running.run("flux", "config", "load", "--all", input='[vendor]\nrefuse = "1"\n')
    assert refused.returncode == 1
    assert refused.stderr == "flux-config: rank 1: recorder refuses the configuration: not here\n"
    assert [conf.get("vendor") for conf in seen(0)] == [{"refuse": "1"}, None]
    assert [current(rank) for rank in (0, 1)] == [None, None]

    output(running.run("flux", "config", "load", "--all", input='[vendor]\nrefuse = "no"\n'))
    wait_for(lambda: [current(rank) for rank in (0, 1)] == [{"refuse": "no"}] * 2, what="news on both ranks")
    assert len(seen(0)) == 3
    assert len(seen(1)) == 2  # asked once for each, not again when the change was made

    output(running.run("flux", "config", "reload", "--all"))
    wait_for(lambda: [current(rank) for rank in (0, 1)] == [None] * 2, what="the files on both ranks")


def test_a_rank_that_refuses_what_it_follows_keeps_what_it_has(running: Instance, tmp_path: Path) -> None:
    module = tmp_path / "recorder.py"
    module.write_text(RECORDER)
    output(running.run("flux", "module", "load", str(module), rank=1))
    output(running.run("flux", "config", "load", input='[vendor]\nrefuse = "1"\n'))
    wait_for(
        lambda: "rank 1 keeps its configuration: recorder refuses" in running.run("flux", "dmesg", rank=1).stdout,
        what="the refusal in the log",
    )
    assert "vendor" not in running.handle(1).rpc("config.get").get()
    assert running.handle(0).rpc("config.get").get()["vendor"] == {"refuse": "1"}


def test_check_finds_what_is_wrong(running: Instance, conf: Path) -> None:
    output(running.run("flux", "config", "check", str(conf)))
    unknown = running.run("flux", "config", "check", input="[polcy]\n")
    assert (unknown.returncode, unknown.stderr) == (1, "flux-config: unknown table [polcy]: did you mean [policy]?\n")
    assert "line 2" in running.run("flux", "config", "check", input=BROKEN).stderr


def test_uptime_is_one_line(running: Instance) -> None:
    line = output(running.run("flux", "uptime"))
    assert re.fullmatch(r" \d\d:\d\d:\d\d run \S+[smhd],  owner \S+,  depth 0,  size 2", line)


def test_uptime_tells_what_is_drained(instance: Callable[..., Instance]) -> None:
    full = instance(size=2)
    output(full.run("flux", "resource", "drain", "1"))
    assert output(full.run("flux", "uptime")).endswith(",  1 drained")


def test_uptime_tells_what_keeps_jobs_from_running(instance: Callable[..., Instance]) -> None:
    running = instance(size=1)
    handle = running.handle()
    handle.rpc("job-manager.queue-enable", {"enable": False, "reason": "closed", "all": True}).get()
    handle.rpc("job-manager.queue-start", {"start": False, "all": True, "nocheckpoint": True}).get()
    lines = output(running.run("flux", "uptime")).splitlines()
    assert lines[1] == "  submit disabled,  scheduler stopped"


@pytest.mark.parametrize(("trap", "code"), [("exit 7", 7), ("exit 0", 0)])
def test_shutdown_shows_the_log_and_keeps_the_programs_exit_code(trap: str, code: int, tmp_path: Path) -> None:
    script = f"trap '{trap}' HUP; flux getattr local-uri; while :; do sleep 0.1; done"
    command = [FLUX, "start", "-s2", MINIMAL, "sh", "-c", script]
    process = subprocess.Popen(command, env=_outside(tmp_path), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    uri = process.stdout.readline().decode().strip()
    result = subprocess.run([FLUX, "shutdown", uri], capture_output=True, text=True, timeout=30)
    assert process.wait(30) == code
    process.stdout.close()
    assert output(result) == ""
    assert "state-machine.info[0]: shutdown: run->cleanup" in result.stderr


def _outside(tmp_path: Path) -> dict[str, str]:
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    env.pop("FLUX_URI", None)
    return env
