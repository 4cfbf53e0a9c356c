"""flux job eventlog and wait-event of an eventlog that somebody has spoilt: a line is told, and no traceback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flux import kvs
from flux.testing import Instance

EVENTLOG = "exec.eventlog"
GOOD = '{"timestamp":1.5,"name":"init"}\n'
BAD = [
    '{"timestamp":2.0,"name":"foo","context":5}',
    '{"timestamp":2.0,"name":null,"context":{}}',
    '{"timestamp":2.0}',
    '{"timestamp":"x","name":"foo"}',
    "[1]",
    "junk",
]


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    with Instance() as instance:
        yield instance


@pytest.fixture(scope="module")
def jobid(instance: Instance) -> str:
    """A job that runs as long as the tests, with an eventlog of its own in its namespace."""
    jobid = instance.run("flux", "submit", "sleep", "inf", check=True).stdout.strip()
    instance.run("flux", "job", "wait-event", "-p", "exec", jobid, "shell.start", check=True)
    return jobid


def spoil(instance: Instance, jobid: str, line: str) -> str:
    """An eventlog whose second line is this one; gives its path."""
    number = instance.run("flux", "job", "id", "--to=dec", jobid, check=True).stdout.strip()
    handle = instance.handle()
    txn = kvs.KVSTxn()
    txn.put_raw("spoilt", f"{GOOD}{line}\n".encode())
    kvs.commit_async(handle, txn, namespace=f"job-{number}").get()
    return "guest.spoilt"


@pytest.mark.parametrize("line", BAD)
@pytest.mark.parametrize("command", [["eventlog"], ["eventlog", "-F"], ["wait-event", "-v", "-t30s"]])
def test_a_line_that_is_no_event_is_told(instance: Instance, jobid: str, command: list[str], line: str) -> None:
    path = spoil(instance, jobid, line)
    event = ["done"] if "wait-event" in command else []
    result = instance.run("flux", "job", *command, "-p", path, jobid, *event)
    assert (result.returncode, result.stdout) == (1, "1.500000 init\n")
    assert "no event" in result.stderr
    assert "guest.spoilt" in result.stderr
    assert "Traceback" not in result.stderr
