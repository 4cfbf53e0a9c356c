"""An exec request is taken up again after its client was told that the way to it is gone (`rexec.resume`)."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

import flux
from flux.constants import FLUX_RPC_STREAMING
from flux.errors import FluxError
from flux.stdio import decode_io
from flux.testing import Instance

COMPOSITION = Path(__file__).with_name("rexec.toml")
LIMIT = 30.0


def start(handle: flux.Flux, script: str, **extra: Any) -> Any:
    cmd = {"cmdline": ["sh", "-c", script], "env": {"PATH": "/usr/bin:/bin"}, "opts": {}, "channels": []}
    request = {"cmd": cmd, "flags": 3, "local_flags": 0, "output_window": 1 << 16, **extra}
    return handle.rpc("rexec.exec", request, flags=FLUX_RPC_STREAMING)


def resume(handle: flux.Flux, name: str, received: int) -> Any:
    return handle.rpc("rexec.resume", {"name": name, "received": received}, flags=FLUX_RPC_STREAMING)


def read(rpc: Any, count: int = -1) -> list[dict[str, Any]]:
    """The next responses, all of them by default."""
    answers: list[dict[str, Any]] = []
    while len(answers) != count:
        rpc.wait_for(LIMIT)
        try:
            answers.append(rpc.get())
        except FluxError as exc:
            assert exc.errno == errno.ENODATA, exc
            break
        rpc.reset()
    return answers


def text(answers: list[dict[str, Any]]) -> bytes:
    return b"".join(decode_io(answer["io"]).data for answer in answers if answer["type"] == "output")


def test_a_running_process_is_followed_from_what_was_received_last(handle: flux.Flux) -> None:
    first = start(handle, "for i in 1 2 3; do echo $i; read word; done; exit 4", resumable="run")
    begun = read(first, 2)
    assert [answer["type"] for answer in begun] == ["started", "output"]
    again = resume(handle, "run", 1)
    assert read(again, 1)[0]["pid"] == begun[0]["pid"]
    for _ in range(3):
        handle.rpc(
            "rexec.write", {"matchtag": again.matchtag, "io": {"stream": "stdin", "rank": "0", "data": "go\n"}}, flags=1
        )
    rest = read(again)
    assert text(rest) == b"2\n3\n"
    assert [answer["status"] for answer in rest if answer["type"] == "finished"] == [4 << 8]


@pytest.mark.parametrize("received", range(4))
def test_what_ended_meanwhile_is_told_in_full(handle: flux.Flux, received: int) -> None:
    name = f"over-{received}"
    whole = read(start(handle, "echo a; echo b >&2; exit 5", resumable=name))
    outputs = [answer for answer in whole if answer["type"] == "output"]
    for _ in range(2):  # the answers may be lost again
        answers = read(resume(handle, name, received))
        assert [answer for answer in answers if answer["type"] == "output"] == outputs[received:]
        assert [answer["status"] for answer in answers if answer["type"] == "finished"] == [5 << 8]


def refused(action: Any) -> int:
    with pytest.raises(FluxError) as caught:
        action.wait_for(LIMIT)
        action.get()
    return caught.value.errno


def test_wrong_requests_are_refused(rexec: Instance, handle: flux.Flux) -> None:
    assert refused(start(handle, "true", resumable="w", output_window=0)) == errno.EINVAL
    assert refused(resume(handle, "never", 0)) == errno.ENOENT
    running = start(handle, "sleep 300", resumable="mine")
    read(running, 1)
    assert refused(start(handle, "true", resumable="mine")) == errno.EEXIST
    with flux.Flux(rexec.uri) as other:
        assert refused(resume(other, "mine", 0)) == errno.ENOENT


def test_a_process_whose_client_has_left_is_not_kept(rexec: Instance, handle: flux.Flux) -> None:
    with flux.Flux(rexec.uri) as other:
        pid = read(start(other, "sleep 300", resumable="left"), 1)[0]["pid"]
    while any(process["pid"] == pid for process in handle.rpc("rexec.list").get()["procs"]):
        handle.rpc("rexec.ping", {}).get()


@pytest.mark.parametrize("quiet", [False, True])
def test_the_end_of_a_stream_may_go_untold(handle: flux.Flux, quiet: bool) -> None:
    script = "echo said; exec >&-; echo failed >&2; exit 3"
    answers = read(start(handle, script, resumable=f"quiet-{quiet}", quiet=quiet))
    ends = [answer["io"]["stream"] for answer in answers if answer["type"] == "output" and answer["io"].get("eof")]
    assert sorted(ends) == ([] if quiet else ["stderr", "stdout"])
    assert text(answers) == b"said\nfailed\n"
    assert [answer["status"] >> 8 for answer in answers if answer["type"] == "finished"] == [3]
