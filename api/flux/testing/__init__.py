"""Real instances for tests, for this project's and for those of plugin authors.

    with Instance(size=4) as instance:
        assert instance.handle().attr_get("size") == "4"

As a pytest plugin it offers the fixtures `flux_instance` (a factory) and `flux_handle` (a handle on one broker).
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import flux
from flux.errors import FluxError

__all__ = ["Instance", "runs", "wait_for"]

_READY = 'printf "%s\\n" "$FLUX_URI"; exec cat'
_FLUX = os.path.join(os.path.dirname(sys.executable), "flux")


class Instance:
    """An instance of `flux start -s SIZE` that lives as long as the context.

    Args:
        size: number of brokers.
        attrs: broker attributes to set.
        args: further arguments of flux start, such as ["--plugins=FILE"].
        timeout: seconds to wait for the instance to run, and to end.
    """

    def __init__(
        self,
        size: int = 1,
        attrs: Mapping[str, str] | None = None,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> None:
        self.size = size
        self.timeout = timeout
        self.env = {**os.environ, **(env or {})}
        self.env.pop("FLUX_URI", None)
        settings = [f"--setattr={name}={value}" for name, value in (attrs or {}).items()]
        self.command = [_FLUX, "start", f"-s{size}", *settings, *args, "--", "sh", "-c", _READY]
        self.uri = ""
        self.process: subprocess.Popen[bytes]
        self._handles: list[Any] = []

    def start(self) -> Instance:
        """Start the instance and wait until it runs. FluxError with what it printed when it does not."""
        self.process = subprocess.Popen(
            self.command, env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], self.timeout)
        line = self.process.stdout.readline() if ready else b""
        if not line:
            self.kill()
            raise FluxError(5, f"the instance did not start within {self.timeout:g}s (exit {self.process.returncode})")
        self.uri = line.decode().strip()
        self.env["FLUX_URI"] = self.uri
        return self

    def handle(self, rank: int = 0) -> Any:
        """A handle on the broker of that rank, closed at the end."""
        handle = flux.Flux(self.uri_of(rank))
        self._handles.append(handle)
        return handle

    def uri_of(self, rank: int) -> str:
        """URI of the broker of that rank."""
        return self.uri if rank == 0 else self.uri.removesuffix("-0") + f"-{rank}"

    @property
    def rundir(self) -> str:
        return os.path.dirname(self.uri.removeprefix("local://"))

    def run(self, *command: str, rank: int = 0, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command in the instance; `flux` is the one that belongs to this installation.

        Output is captured as text, and without `input` there is none; options go to subprocess.run.
        """
        words = [_FLUX if command[0] == "flux" else command[0], *command[1:]]
        env = {**self.env, "FLUX_URI": self.uri_of(rank), **options.pop("env", {})}
        stdin = {} if "input" in options else {"stdin": subprocess.DEVNULL}
        options = {"capture_output": True, "text": True, "timeout": self.timeout, **stdin, **options}
        result: subprocess.CompletedProcess[str] = subprocess.run(words, env=env, **options)
        return result

    def stop(self) -> int:
        """End the instance; gives the exit code of flux start."""
        for handle in self._handles:
            handle.close()
        self._handles.clear()
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        try:
            return self.process.wait(self.timeout)
        finally:
            self.process.stdout.close()
            if self.process.returncode is None:
                self.kill()

    def kill(self) -> None:
        """End the launcher and every broker by force, and remove what they can no longer remove."""
        for pid in self._descendants(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        if self.uri:
            shutil.rmtree(self.rundir, ignore_errors=True)

    def _descendants(self, pid: int) -> list[int]:
        pids = [pid]
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children") as children:
                    for child in children.read().split():
                        pids += self._descendants(int(child))
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has just ended
        return pids

    def broker_pid(self, rank: int) -> int:
        """Process id of the broker of that rank."""
        with flux.Flux(self.uri_of(rank)) as handle:
            return int(handle.attr_get("broker.pid"))

    def __enter__(self) -> Instance:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()


def runs(pid: int) -> bool:
    """True while a process is there; a zombie has ended, whether or not somebody has waited for it."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition: Any, timeout: float = 30.0, what: str = "condition") -> Any:
    """Poll until condition() is true and give its value; AssertionError after timeout seconds.

    For what no event announces, such as a process that ends; where there is an event, wait for that.
    """
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout:g}s")
        select.select([], [], [], 0.01)
    return value
