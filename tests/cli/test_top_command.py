"""`flux top` on a terminal: counts, running jobs, nested instances, and the way out (flux-top(1))."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pty_command import Terminal

from flux.testing import Instance, wait_for

FLUX = str(Path(sys.executable).with_name("flux"))


@pytest.fixture(scope="module")
def instance(flux_instance: Callable[..., Instance]) -> Instance:
    return flux_instance(1)


def test_jobs_come_and_q_ends_it(instance: Instance) -> None:
    with Terminal(instance, FLUX, "top") as terminal:
        terminal.read_until("0 running")
        held = instance.run("flux", "submit", "--urgency=0", "true").stdout.strip()
        terminal.read_until("1 pending")
        instance.run("flux", "cancel", held)
        terminal.read_until("0 complete, 1 failed")
        terminal.type("d")
        terminal.read_until("1 inactive")
        terminal.type("q")
        assert terminal.wait() == 0
    assert "\x1b[?1049l" in terminal.shown  # the screen is as it was before


def test_an_instance_in_the_list_is_opened_and_left(instance: Instance) -> None:
    script = "flux submit --urgency=0 --cc=0-6 true; sleep 300"
    words = ("-n1", "--job-name=inner", "--output=/dev/null", "--wrap", script)
    batch = instance.run("flux", "batch", *words).stdout.strip()
    wait_for(lambda: instance.run("flux", "jobs", "-no", "{instance.stats}", batch).stdout == "PD:7 R:0 CD:0 F:0\n", 60)
    with Terminal(instance, FLUX, "top", "--color=never") as terminal:
        terminal.read_until("inner")
        terminal.type("\r")
        terminal.read_until("7 pending")
        terminal.read_until("depth: 1")
        terminal.type("q")
        terminal.shown = ""
        terminal.read_until("inner")
        terminal.type("jk\x1b[B\x1b[Aq")
        assert terminal.wait() == 0
    with Terminal(instance, FLUX, "top", batch) as terminal:
        terminal.read_until("7 pending")
        terminal.type("q")
        assert terminal.wait() == 0
    instance.run("flux", "cancel", batch)
    assert instance.run("flux", "job", "wait-event", "-t60", batch, "clean").returncode == 0


def test_the_screen_is_left_while_it_is_stopped(instance: Instance) -> None:
    with Terminal(instance, FLUX, "top") as terminal:
        terminal.read_until("0 running")
        os.kill(terminal.pid, signal.SIGTSTP)
        terminal.read_until("\x1b[?1049l")
        wait_for(lambda: "State:\tT" in Path(f"/proc/{terminal.pid}/status").read_text(), 60)
        terminal.shown = ""
        os.kill(terminal.pid, signal.SIGCONT)
        terminal.read_until("\x1b[?1049h")
        terminal.read_until("0 running")
        terminal.type("q")
        assert terminal.wait() == 0


def test_without_a_terminal_it_is_refused(instance: Instance) -> None:
    found = instance.run("flux", "top", input="")
    assert (found.returncode, found.stderr) == (1, "flux-top: stdin is not a terminal\n")


def test_a_queue_that_does_not_exist_is_refused(instance: Instance) -> None:
    with Terminal(instance, FLUX, "top", "-q", "nope") as terminal:
        assert terminal.wait() == 1
    assert "nope" in terminal.shown
    assert "\x1b[?1049h" not in terminal.shown
