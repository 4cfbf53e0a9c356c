"""Fixtures of all tests: `instance(size=N)` gives a running instance (see flux.testing)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from flux.testing import Instance, wait_for

# how long an example takes says something of the machine, and how large it is something of the generator, whose choices
# change with its version and with the code beside the test: neither says anything of what is tested; examples are the
# same each time, so that a failure is one for everybody, but for who looks for others with FLUX_TEST_RANDOM
settings.register_profile(
    "flux",
    deadline=None,
    derandomize="FLUX_TEST_RANDOM" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("flux")

for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(signum) is signal.SIG_IGN:  # as under nohup: what tests start would inherit that
        signal.signal(signum, lambda *_: None)


@pytest.fixture
def instance(flux_instance: Callable[..., Instance]) -> Callable[..., Instance]:
    """`instance(size=1, attrs=..., args=...)`: a running instance, shared by the tests of one module."""
    return flux_instance


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m,mode=700", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def munge_socket() -> Iterator[str]:
    """Where a MUNGE daemon of our own listens."""
    if shutil.which("munged") is None:
        pytest.skip("munged is not installed")
    with tempfile.TemporaryDirectory(prefix="munge-") as folder:
        os.chmod(folder, 0o755)
        key = Path(folder, "key")
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        options = [f"--{name}={folder}/{file}" for name, file in files.items()]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        daemon = subprocess.Popen(["munged", "--force", "--foreground", *options], **quiet)
        try:
            wait_for(lambda: Path(folder, "socket").exists(), timeout=30)
            yield f"{folder}/socket"
        finally:
            daemon.terminate()
            daemon.wait(30)
