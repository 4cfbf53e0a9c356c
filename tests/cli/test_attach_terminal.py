"""A user's terminal joined to that of a job: flux run -o pty.interactive, flux job attach (flux-job(1))."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

from flux.testing import Instance

FLUX = str(Path(sys.executable).parent / "flux")
LONGEST = 40.0  # seconds


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, env: dict[str, str], *args: str) -> None:
        self.fd, follower = pty.openpty()
        ends = {"stdin": follower, "stdout": follower, "stderr": follower}
        self.process = subprocess.Popen([FLUX, *args], env=env, start_new_session=True, **ends)
        os.close(follower)
        self.shown = ""

    def read_until(self, text: str) -> None:
        end = time.monotonic() + LONGEST
        while text not in self.shown:
            ready, _, _ = select.select([self.fd], [], [], end - time.monotonic())
            assert ready, f"no {text!r} in {self.shown!r}"
            self.shown += os.read(self.fd, 4096).decode()

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def close(self) -> int:
        """Wait for the end and give the exit code."""
        try:
            return self.process.wait(LONGEST)
        finally:
            self.process.kill()
            self.process.wait()
            os.close(self.fd)


def test_typed_text_reaches_the_job_and_its_exit_code_comes_back(running: Instance) -> None:
    script = "echo ready; read line; echo got $line; exit 3"
    terminal = Terminal(running.env, "run", "-o", "pty.interactive", "sh", "-c", script)
    terminal.read_until("ready")
    terminal.type("text\n")
    terminal.read_until("got text")
    terminal.read_until("[detached: session exiting]")
    assert terminal.close() == 3


def test_captured_output_is_shown_once(running: Instance) -> None:
    script = "echo ready; read line; echo got $line"
    options = ("-o", "pty.interactive", "-o", "pty.capture")
    terminal = Terminal(running.env, "run", *options, "sh", "-c", script)
    terminal.read_until("ready")
    terminal.type("text\n")
    terminal.read_until("[detached: session exiting]")
    assert terminal.close() == 0
    assert terminal.shown.count("got text") == 1


def test_detach_leaves_the_job_running(running: Instance) -> None:
    terminal = Terminal(running.env, "run", "-o", "pty.interactive", "sh", "-c", "echo ready; exec cat")
    terminal.read_until("ready")
    terminal.type("\x1d")
    terminal.read_until("[detached: Client requested detach]")
    assert terminal.close() == 0
    jobid = running.run("flux", "job", "last").stdout.strip()
    looking = running.run("flux", "job", "attach", "--read-only", jobid)
    assert (looking.returncode, looking.stderr) == (1, "flux-job: Cannot connect to pty in readonly mode\n")
    again = Terminal(running.env, "job", "attach", jobid)
    again.type("more\n")
    again.read_until("more\r\nmore\r\n")  # from here on what is typed is the job's
    again.type("\x04")
    again.read_until("[detached: session exiting]")
    assert again.close() == 0


def test_input_that_is_no_terminal(running: Instance) -> None:
    script = "read line; echo got $line; exit 4"
    done = running.run("flux", "run", "-o", "pty.interactive", "sh", "-c", script, input="piped\n")
    assert (done.returncode, done.stdout) == (4, "piped\ngot piped\n")
