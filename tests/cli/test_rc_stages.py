"""What is run when an instance starts, is cleaned up and ends, and what its failure does to the exit code."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

FLUX = os.path.join(os.path.dirname(sys.executable), "flux")
LOG = "-Slog-stderr-level=6"


def start(tmp: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "TMPDIR": str(tmp), **env}
    environ.pop("FLUX_URI", None)
    command = [FLUX, "start", *args]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def in_order(text: str, *parts: str) -> bool:
    places = [text.find(part) for part in parts]
    return -1 not in places and places == sorted(places)


def test_scripts_beside_the_configuration_run_on_every_rank(tmp_path: Path) -> None:
    conf, extra = tmp_path / "conf", tmp_path / "extra"
    script(conf / "rc1.d" / "10-site", "echo began on $FLUX_RANK of $(flux getattr size); echo warned >&2")
    script(extra / "rc1.d" / "00-more", "echo more")
    script(conf / "rc3.d" / "site", "echo ended on $FLUX_RANK")
    (conf / "rc1.d" / "README").write_text("not executable")
    result = start(tmp_path, "-s2", f"-c{conf}", LOG, "-Slog-forward-level=6", "true", FLUX_RC_EXTRA=str(extra))
    assert result.returncode == 0, result.stderr
    assert in_order(result.stderr, "rc.info[0]: rc1.0: began on 0 of 2", "rc.info[0]: rc1.1: more", "init->quorum")
    assert "rc.err[0]: rc1.0: warned" in result.stderr
    assert "[1]: rc1.0: began on 1 of 2" in result.stderr
    assert in_order(result.stderr, "rc3.0: ended on 1", "rc3.0: ended on 0")


@pytest.mark.parametrize(
    ("settings", "code", "ran"),
    [
        (["-Sbroker.rc1_path=exit 7"], 7, False),
        (["-Sbroker.rc1_path=exit 7", "-Sbroker.exit-norestart=42"], 42, False),
        (["-Sbroker.rc1_path=exit 7", "-Sbroker.recovery-mode=1"], 0, True),
        (["-Sbroker.rc3_path=exit 5"], 5, True),
    ],
)
def test_exit_code_of_a_failed_script(tmp_path: Path, settings: list[str], code: int, ran: bool) -> None:
    result = start(tmp_path, *settings, "echo", "ran")
    assert result.returncode == code, result.stderr
    assert (result.stdout == "ran\n") is ran
    assert f"exit {settings[0][-1]} Exited (rc={settings[0][-1]})" in result.stderr


def test_a_command_takes_the_place_of_the_composition(tmp_path: Path) -> None:
    show = "flux module list | grep -c -e kvs -e job-manager -e heartbeat"
    assert start(tmp_path, "-Sbroker.rc1_path=", "sh", "-c", show).stdout == "0\n"
    assert start(tmp_path, "-Sbroker.rc1_path=flux module load heartbeat", "sh", "-c", show).stdout == "1\n"


def test_hooks_of_a_site(tmp_path: Path) -> None:
    (tmp_path / "site.py").write_text(
        "from flux.hooks.rc import hookimpl\n"
        "@hookimpl\nasync def rc1(flux, rank, log):\n"
        '    log.info(f\'service on {rank} answers {(await flux.rpc("content.ping", {"x": 1}))["x"]}\')\n'
        "@hookimpl\ndef cleanup(log):\n    log.info('hook cleans up')\n"
        "@hookimpl\ndef rc3():\n    raise ValueError('no way out')\n"
    )
    plugins = tmp_path / "plugins.toml"
    plugins.write_text(f'extends = "default"\n[modules.rc]\nargs = {{ plugins = ["{tmp_path}/site.py"] }}\n')
    push = json.dumps({"name": "cleanup", "commands": ["echo second", "echo first"]})
    result = start(tmp_path, LOG, f"--plugins={plugins}", "flux", "rpc", "runat.push", push)
    assert "service on 0 answers 1" in result.stderr
    assert in_order(result.stderr, "cleanup.0: first", "cleanup.1: second", "hook cleans up", "no way out")
    assert result.returncode == 1


def test_a_failing_hook_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "site.py").write_text(
        "from flux.hooks.rc import hookimpl\n@hookimpl\ndef rc1():\n    raise OSError(5, 'disk on fire')\n"
    )
    plugins = tmp_path / "plugins.toml"
    plugins.write_text(f'extends = "default"\n[modules.rc]\nargs = {{ plugins = ["{tmp_path}/site.py"] }}\n')
    result = start(tmp_path, f"--plugins={plugins}", "echo", "ran")
    assert (result.returncode, result.stdout) == (1, "")
    assert "disk on fire" in result.stderr


def test_running_jobs_are_canceled_before_services_stop_and_others_stay(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    submit = (
        "id=$(flux submit sleep 1000) && flux job wait-event $id start && flux submit --urgency=hold true && echo $id"
    )
    result = start(tmp_path, LOG, f"-Sstatedir={state}", "sh", "-c", submit)
    assert result.returncode == 0, result.stderr
    assert in_order(result.stderr, "run->cleanup", "cleanup->shutdown")
    held, running = result.stdout.split()[-2:]
    show = f"flux job eventlog {running}; echo; echo ----; flux job eventlog {held}"
    ended, waiting = start(tmp_path, f"-Sstatedir={state}", "sh", "-c", show).stdout.split("----")
    assert in_order(ended, "exception", "the instance is shutting down", "clean")
    assert "submit" in waiting
    assert "exception" not in waiting


def test_clean_up_after_a_signal_is_limited(tmp_path: Path) -> None:
    push = json.dumps({"name": "cleanup", "commands": ["exec sleep 1000"]})
    code = f"flux rpc runat.push '{push}' && kill -TERM $(flux getattr broker.pid) && exec sleep 1000"
    result = start(tmp_path, "-Sbroker.cleanup-timeout=0.2s", "sh", "-c", code)
    assert result.returncode == 143, result.stderr
    assert "cleanup was given up" in result.stderr


@pytest.mark.parametrize("how", ["flux shutdown --background", "kill -TERM $(flux getattr broker.pid)"])
def test_exit_norestart_is_for_a_shutdown_on_purpose(tmp_path: Path, how: str) -> None:
    result = start(tmp_path, "-Sbroker.exit-norestart=42", "sh", "-c", f"{how}; exec sleep 1000")
    assert result.returncode == (42 if "shutdown" in how else 143), result.stderr


@pytest.mark.parametrize("setting", ["broker.exit-norestart=never", "broker.cleanup-timeout=soon"])
def test_a_wrong_setting_is_named(tmp_path: Path, setting: str) -> None:
    result = start(tmp_path, f"-S{setting}", "true")
    assert result.returncode == 1
    assert setting in result.stderr


def listen(supervisor: socket.socket, told: list[str]) -> None:
    while not told or told[-1] != "STATUS=Exiting":
        told.append(supervisor.recv(4096).decode())


def test_a_supervisor_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(tmp_path / "notify"))
        supervisor.settimeout(60)
        reader = threading.Thread(target=listen, args=(supervisor, told))
        reader.start()  # a socket keeps few datagrams that nobody has read
        notify = """flux rpc --noresponse state-machine.sd-notify '{"status":"at it"}'; flux getattr rank >&2"""
        say = f"env | grep -c NOTIFY_SOCKET; {notify}"
        settings = ["-Sbroker.sd-notify=1", "-Sbroker.sd-stop-timeout=90"]
        result = start(tmp_path, *settings, "sh", "-c", say, NOTIFY_SOCKET=str(tmp_path / "notify"))
        reader.join()
    assert result.stdout == "0\n", result.stderr
    assert told[0] == "READY=1"
    assert "STATUS=Running as leader of an instance of 1" in told
    assert "STATUS=at it" in told
    assert told.count("EXTEND_TIMEOUT_USEC=90000000") > 3
