"""Brokers that are started one by one, with a [bootstrap] configuration."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import flux
from flux.errors import FluxError
from flux.testing import wait_for

FLUX = os.path.join(os.path.dirname(sys.executable), "flux")
MINIMAL = f"--plugins={Path(__file__).parents[2] / 'kernel' / 'kernel.toml'}"


def keygen(path: Path) -> Path:
    subprocess.run([FLUX, "keygen", str(path)], check=True, timeout=60)
    return path


class Cluster:
    """Brokers on hosts that are names only, each started by itself."""

    def __init__(self, tmp_path: Path, size: int, extra: str = "", composition: str = MINIMAL) -> None:
        self.tmp_path = tmp_path
        self.composition = composition
        self.config = tmp_path / "conf.toml"
        self.brokers: dict[int, subprocess.Popen[str]] = {}
        endpoint = f"ipc://{tmp_path}/tbon-%h"
        self.config.write_text(
            f'[bootstrap]\ncurve_cert = "{keygen(tmp_path / "cert")}"\n'
            f'default_bind = "{endpoint}"\ndefault_connect = "{endpoint}"\n'
            f'hosts = [{{ host = "n[0-{size - 1}]" }}{extra}]\n'
        )

    def start(self, rank: int, *words: str, certificate: Path | None = None) -> subprocess.Popen[str]:
        config = self.config
        if certificate is not None:
            config = self.tmp_path / f"conf-{rank}.toml"
            config.write_text(self.config.read_text().replace(str(self.tmp_path / "cert"), str(certificate)))
        rundir = self.tmp_path / str(rank)
        rundir.mkdir(exist_ok=True)
        env = {**os.environ, "FLUX_FAKE_HOSTNAME": f"n{rank}"}
        env.pop("FLUX_URI", None)
        command = [*self.prefix(rank), FLUX, "broker", f"--config-path={config}", self.composition]
        command += [f"-Srundir={rundir}", *words]
        self.brokers[rank] = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return self.brokers[rank]

    def prefix(self, _rank: int) -> list[str]:
        """What a broker's command line begins with."""
        return []

    def uri(self, rank: int) -> str:
        return f"local://{self.tmp_path}/{rank}/local-{rank}"

    def online(self) -> str:
        with flux.Flux(self.uri(0)) as handle:
            try:
                return str(handle.rpc("groups.get", {"name": "broker.online"}).get()["members"])
            except FluxError as exc:
                if exc.errno != errno.EAGAIN:
                    raise
                return "the service is not there yet"

    def wait_online(self, ranks: str) -> None:
        path = self.uri(0).removeprefix("local://")
        wait_for(lambda: os.path.exists(path), what="rank 0")
        wait_for(lambda: self.online() == ranks, what=f"ranks {ranks} online")

    def end(self) -> int:
        self.brokers[0].send_signal(signal.SIGTERM)
        codes = {rank: broker.wait(30) for rank, broker in self.brokers.items()}
        return codes[0]

    def kill(self) -> None:
        for broker in self.brokers.values():
            if broker.poll() is None:
                broker.kill()
            broker.communicate(timeout=40)
