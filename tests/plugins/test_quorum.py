"""When an instance starts its initial program, and what it says while it waits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.errors import FluxError
from flux.idset import IDset
from flux_plugins.state_machine.quorum import Quorum, name_hosts

FLUX = os.path.join(os.path.dirname(sys.executable), "flux")
MINIMAL = f"--plugins={Path(__file__).parent.parent / 'kernel' / 'kernel.toml'}"


@pytest.mark.parametrize(
    ("text", "online", "met", "missing"),
    [
        (None, "0-3", True, ""),
        (None, "0-2", False, "3"),
        ("0", "", True, "0-3"),
        ("2", "0,3", True, "1-2"),
        ("2", "0", False, "1-3"),
        ("[2]", "0-1", False, "2"),
        ("[2]", "2", True, ""),
        ("0-1", "0,2-3", False, "1"),
        ("0-1", "0-1", True, ""),
        ("0,3", "0,3", True, ""),
    ],
)
def test_number_and_idset(text: str | None, online: str, met: bool, missing: str) -> None:
    quorum = Quorum.parse(text, 4)
    assert quorum.is_met(IDset(online)) is met
    assert str(quorum.missing(IDset(online))) == missing


@pytest.mark.parametrize("text", ["5", "-1", "x", "", "0-4", "1.5", "[]"])
def test_what_is_no_quorum_is_named(text: str) -> None:
    with pytest.raises(FluxError, match=r"broker.quorum=.*: it takes a number from 0 to 4"):
        Quorum.parse(text, 4)


@given(st.integers(1, 20), st.data())
def test_all_brokers_are_always_a_quorum(size: int, data: st.DataObject) -> None:
    text = data.draw(st.none() | st.integers(0, size).map(str))
    assert Quorum.parse(text, size).is_met(IDset(range(size)))


def test_hosts_are_named() -> None:
    assert name_hosts(IDset("1,3"), "a[0-3]") == "a[1,3] (rank 1,3)"
    assert name_hosts(IDset("1,3"), None) == "rank 1,3"


def lonely_leader(tmp_path: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    """Rank 0 of an instance of two whose other broker never comes."""
    subprocess.run([FLUX, "keygen", str(tmp_path / "cert")], check=True, timeout=60)
    conf = tmp_path / "conf.toml"
    endpoint = f"ipc://{tmp_path}/tbon"
    conf.write_text(
        f'[bootstrap]\ncurve_cert = "{tmp_path}/cert"\ndefault_bind = "{endpoint}"\ndefault_connect = "{endpoint}"\n'
        'hosts = [{ host = "n[0-1]" }]\n'
    )
    env = {**os.environ, "FLUX_FAKE_HOSTNAME": "n0"}
    command = [FLUX, "broker", MINIMAL, f"-c{conf}", *settings, "sh", "-c", "echo started; flux dmesg >&2"]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=40, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("quorum", ["0", "1", "[0]"])
def test_the_program_starts_with_the_quorum(tmp_path: Path, quorum: str) -> None:
    result = lonely_leader(tmp_path, f"-Sbroker.quorum={quorum}")
    assert (result.returncode, result.stdout) == (0, "started\n"), result.stderr


@pytest.mark.parametrize("settings", [[], ["-Sbroker.quorum=[1]"]], ids=["all", "rank 1"])
def test_without_quorum_in_time_the_instance_gives_up(tmp_path: Path, settings: list[str]) -> None:
    result = lonely_leader(tmp_path, "-Sbroker.quorum-timeout=0.3s", "-Sbroker.quorum-warn=0.1s", *settings)
    assert (result.returncode, result.stdout) == (1, "")
    assert "no quorum within 0.3 s: giving up without n1 (rank 1)" in result.stderr
    assert "quorum delayed: waiting for n1 (rank 1)" in result.stderr


@pytest.mark.parametrize("setting", ["broker.quorum=7", "broker.quorum-warn=soon", "broker.shutdown-timeout=-1"])
def test_a_wrong_setting_is_named_before_anything_starts(tmp_path: Path, setting: str) -> None:
    result = lonely_leader(tmp_path, f"-S{setting}")
    assert (result.returncode, result.stdout) == (1, "")
    assert setting in result.stderr
