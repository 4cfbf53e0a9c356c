"""Commands of every day import little: most of what they take is the start of the interpreter."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

import pytest

from flux.testing import Instance


@pytest.fixture
def running(instance: Callable[..., Instance]) -> Instance:
    return instance(size=4)


@pytest.mark.parametrize(
    "words", ["run true", "submit true", "jobs -a", "job attach {id}", "cancel {id}", "kvs put a=1"]
)
def test_command_imports_no_codec_and_no_types(running: Instance, words: str) -> None:
    jobid = running.run("flux", "submit", "true").stdout.strip()
    argv = words.format(id=jobid).split()
    done = running.run(sys.executable, "-X", "importtime", running.command[0], *argv)
    imported = set(re.findall(r"\| +(\S+)$", done.stderr, re.MULTILINE))
    assert "flux.core.handle" in imported
    assert not imported & {"asyncio", "dataclasses", "importlib.metadata", "inspect", "msgspec", "typing", "zmq"}
