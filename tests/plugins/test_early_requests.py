"""A client of a broker that cannot join its instance is told so, and may find out why."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flux
import flux.constants
from flux.errors import FluxError
from flux.testing import wait_for

FLUX = os.path.join(os.path.dirname(sys.executable), "flux")
MINIMAL = f"--plugins={Path(__file__).parent.parent / 'kernel' / 'kernel.toml'}"


@pytest.fixture(scope="module")
def lonely(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A handle on the broker of rank 1, whose parent is not there."""
    folder = tmp_path_factory.mktemp("lonely")
    subprocess.run([FLUX, "keygen", str(folder / "cert")], check=True, timeout=30)
    endpoint = f"ipc://{folder}/tbon-%h"
    (folder / "conf.toml").write_text(
        f'[bootstrap]\ncurve_cert = "{folder}/cert"\ndefault_bind = "{endpoint}"\ndefault_connect = "{endpoint}"\n'
        'hosts = [{ host = "fake[0-1]" }]\n'
    )
    env = {**os.environ, "FLUX_FAKE_HOSTNAME": "fake1", "TMPDIR": str(folder)}
    for name in ("FLUX_URI", "PMI_FD", "PMI_PORT"):
        env.pop(name, None)
    socket = folder / "local-1"
    command = [
        sys.executable,
        "-m",
        "flux_cli.broker",
        "-v",
        MINIMAL,
        f"-c{folder}/conf.toml",
        f"-Slocal-uri=local://{socket}",
    ]
    process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL)
    try:
        wait_for(lambda: socket.exists() or process.poll() is not None, what="the socket of rank 1")
        with flux.Flux(f"local://{socket}") as handle:
            yield handle
        process.terminate()
        process.wait(30)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("topic", ["kvs.lookup", "groups.get", "module.list", "broker.ping", "state-machine.get"])
def test_requests_are_refused_for_now(lonely: Any, topic: str) -> None:
    with pytest.raises(FluxError, match="offline") as caught:
        lonely.rpc(topic, {"name": "x", "key": "x", "seq": 1}).get()
    assert caught.value.errno == errno.EAGAIN


def test_what_helps_to_find_out_is_answered(lonely: Any) -> None:
    lonely.event_subscribe("heartbeat")
    waiting = lonely.rpc("state-machine.wait")
    assert any("started local" in line for line in log_of(lonely))
    assert not waiting.is_ready()


def log_of(handle: Any) -> Iterator[str]:
    entries = handle.rpc("log.dmesg", {"follow": False}, flags=flux.constants.FLUX_RPC_STREAMING)
    while True:
        try:
            yield entries.get_str()
        except FluxError as exc:
            assert exc.errno == errno.ENODATA
            return
        entries.reset()
