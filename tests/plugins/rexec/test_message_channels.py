"""Message channels: a process of the subprocess server talks Flux over a descriptor it was given (RFC 42)."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable

import pytest

from flux.errors import FluxError
from flux.rexec import exec_request, start_background
from flux.testing import Instance, wait_for

SCRIPT = "import flux, os; h = flux.Flux(os.environ['CHANNEL']); print('rank', h.attr_get('rank'), flush=True)"


def request(words: list[str], uri: str, key: str, **more: str) -> str:
    payload = json.loads(exec_request(words, label="channelled", flags=16))
    payload["cmd"][key] = [{"name": "CHANNEL", "uri": uri}]
    return json.dumps({**payload, **more})


@pytest.mark.parametrize("key", ["msgchan", "msgchans"])
def test_a_process_reaches_the_broker_by_its_channel(instance: Callable[..., Instance], key: str) -> None:
    handle = instance(size=2).handle()
    uri = handle.rpc("attr.get", {"name": "local-uri"}, nodeid=1).get()["value"]
    started = start_background(handle, request([sys.executable, "-c", SCRIPT], uri, key), 1)
    pid = started.get()["pid"]
    done = handle.rpc("rexec.wait", {"pid": pid}, nodeid=1).get()
    assert (done["status"], "".join(io["data"] for io in done["output"])) == (0, "rank 1\n")
    fds = f"/proc/{handle.rpc('attr.get', {'name': 'broker.pid'}, nodeid=1).get()['value']}/fd"
    before = len(os.listdir(fds))
    for _ in range(3):
        pid = start_background(handle, request(["true"], uri, key), 1).get()["pid"]
        handle.rpc("rexec.wait", {"pid": pid}, nodeid=1).get()
    wait_for(lambda: len(os.listdir(fds)) <= before, what="the descriptors of ended channels are closed")


@pytest.mark.parametrize(
    ("uri", "number", "text"),
    [
        ("shmem://x", errno.EINVAL, "only local://PATH"),
        ("local:///no/such/socket", errno.ENOENT, "/no/such/socket"),
    ],
)
def test_a_channel_to_nowhere_is_refused(instance: Callable[..., Instance], uri: str, number: int, text: str) -> None:
    handle = instance(size=2).handle()
    with pytest.raises(FluxError, match=text) as caught:
        start_background(handle, request(["true"], uri, "msgchan"), 0).get()
    assert caught.value.errno == number


def test_signed_requests_are_refused(instance: Callable[..., Instance]) -> None:
    handle = instance(size=2).handle()
    for payload in (request(["true"], "local:///x", "msgchan", signature="a.b.c"), '{"signature": "a.b.c"}'):
        with pytest.raises(FluxError, match="signed") as caught:
            start_background(handle, payload, 0).get()
        assert caught.value.errno == errno.EPERM
