"""`flux overlay`: what an administrator sees of the tree, and what he can do to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from flux.testing import Instance, wait_for

FULL = """0 HOST: full
├─ 1 HOST: full
│  ├─ 3 HOST: full
│  └─ 4 HOST: full
└─ 2 HOST: full
   ├─ 5 HOST: full
   └─ 6 HOST: full
"""


@pytest.fixture(scope="module")
def tree() -> Iterator[Instance]:
    with Instance(7, {"tbon.fanout": "2"}) as instance:
        yield instance


@pytest.fixture
def mortal() -> Iterator[Instance]:
    """Seven brokers that may die."""
    with Instance(7, {"tbon.fanout": "2"}, ["--test-exit-mode=leader"]) as instance:
        yield instance


def overlay(instance: Instance, *args: str) -> str:
    result = instance.run("flux", "overlay", *args)
    assert result.returncode == 0, result.stderr
    return plain(instance, result.stdout)


def refused(instance: Instance, *args: str) -> str:
    result = instance.run("flux", "overlay", *args)
    assert result.returncode == 1, result.stdout
    return plain(instance, result.stderr)


def plain(instance: Instance, text: str) -> str:
    return text.replace(instance.handle().attr_get("hostname"), "HOST")


def test_status_shows_the_tree(tree: Instance) -> None:
    assert overlay(tree, "status", "--wait=full", "--timeout=50s") == FULL
    assert overlay(tree, "status", "--summary") == "full\n"
    assert overlay(tree, "status", "--rank", "2").splitlines()[1:] == ["├─ 5 HOST: full", "└─ 6 HOST: full"]
    assert overlay(tree, "status", "--no-pretty").splitlines()[-1] == "6 HOST: full"
    assert overlay(tree, "status", "--down") == ""


def test_status_shows_times_marks_and_json(tree: Instance) -> None:
    first, *others = overlay(tree, "status", "-vv").splitlines()
    assert first.startswith("0 HOST: full for ") and first.endswith(" ms)")
    assert all("full for" in line for line in others)
    marked = [line for line in overlay(tree, "status", "-H", "5").splitlines() if "<<" in line]
    assert marked == ["<<0 HOST>>: full", "└─ <<2 HOST>>: full", "   ├─ <<5 HOST>>: full"]
    assert "\033[34m5 HOST\033[0m" in overlay(tree, "status", "-H5", "--color=always")
    shown = json.loads(overlay(tree, "status", "--json"))
    assert [child["rank"] for child in shown["children"][1]["children"]] == [5, 6]


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("status", "--wait=up"), "invalid --wait state 'up'"),
        (("status", "--wait=lost", "--timeout=0.1"), "timed out after 0.1s: rank 0 is "),
        (("status", "--rank=9"), "9 is not a valid rank in this instance"),
        (("status", "--timeout=x"), "invalid Flux standard duration 'x'"),
        (("lookup", "nohost"), "host nohost not found in host map"),
        (("parentof", "0"), "0 has no parent"),
        (("disconnect", "0"), "0 has no parent"),
        (("disconnect", "1-2"), "1-2 is 2 brokers"),
        (("disconnect", "--parent=0", "5"), "rank 5 is not a child of rank 0"),
        (("reparent", "5", "1"), "rank 1 is not above rank 5"),
        (("reparent", "0", "1"), "rank 1 is not above rank 0"),
        (("trace", "--type=letter"), "there is no message type 'letter'"),
    ],
)
def test_errors_say_what_is_wrong(tree: Instance, args: tuple[str, ...], text: str) -> None:
    assert text in refused(tree, *args)


def test_lookup_and_parentof(tree: Instance) -> None:
    assert overlay(tree, "lookup", "3") == "HOST\n"
    host = tree.handle().attr_get("hostname")
    assert overlay(tree, "lookup", host) == "0-6\n"
    assert [overlay(tree, "parentof", str(rank)) for rank in (1, 4, 6)] == ["0\n", "1\n", "2\n"]


def test_trace_shows_messages_as_they_pass(tree: Instance) -> None:
    command = [os.path.join(os.path.dirname(sys.executable), "flux"), "overlay", "trace", "--full", "trace-test.*"]
    with subprocess.Popen(command, env=tree.env, stdout=subprocess.PIPE, text=True) as tracer:
        assert tracer.stdout is not None
        handle = tree.handle()
        wait_for(lambda: handle.rpc("overlay.stats-get").get()["tracers"] == 1, what="the tracer is there")
        handle.event_publish("trace-test.event", {"x": 1})
        with pytest.raises(OSError):
            handle.rpc("trace-test.request", nodeid=1).get()
        lines = [tracer.stdout.readline() for _ in range(6)]
        tracer.send_signal(signal.SIGINT)
    assert [lines[0].partition(" ")[2], *lines[1:4]] == ["tx * e trace-test.event [8]\n", "{\n", '  "x": 1\n', "}\n"]
    assert lines[4].partition(" ")[2] == "tx 1 > trace-test.request [0]\n"
    assert lines[5].partition(" ")[2].startswith("rx 1 < trace-test.request ")
    wait_for(lambda: handle.rpc("overlay.stats-get").get()["tracers"] == 0, what="the tracer is gone")


def test_a_broker_is_moved_and_moved_back(tree: Instance) -> None:
    assert overlay(tree, "reparent", "5", "0") == ""
    assert overlay(tree, "parentof", "5") == "0\n"
    shown = overlay(tree, "status", "--wait=full", "--timeout=50s").splitlines()
    assert (shown[0], shown[-2:]) == ("0 HOST: full", ["│  └─ 6 HOST: full", "└─ 5 HOST: full"])
    assert "rank 0 is the parent of rank 5 already" in refused(tree, "reparent", "5", "0")
    overlay(tree, "reparent", "5", "2")
    assert overlay(tree, "status", "--wait=full", "--timeout=50s") == FULL


def test_a_killed_broker_is_shown_and_those_below_it_where_they_are_now(mortal: Instance) -> None:
    os.kill(mortal.broker_pid(1), signal.SIGKILL)
    overlay(mortal, "status", "--wait=degraded", "--timeout=50s", "--summary")
    wait_for(lambda: overlay(mortal, "parentof", "3") == overlay(mortal, "parentof", "4") == "0\n")
    reason = overlay(mortal, "errors").removeprefix("HOST: ").strip()
    assert reason in ("connection closed", "overlay send: Host unreachable")  # whichever rank 0 sees first
    expected = (
        "0 HOST: degraded\n"
        f"├─ 1 HOST: lost {reason}\n"
        "├─ 2 HOST: full\n"
        "│  ├─ 5 HOST: full\n"
        "│  └─ 6 HOST: full\n"
        "├─ 3 HOST: full\n"
        "└─ 4 HOST: full\n"
    )
    wait_for(lambda: overlay(mortal, "status") == expected, what="the tree without rank 1")


def test_a_broker_is_sent_away_with_those_below_it(mortal: Instance) -> None:
    host = mortal.handle().attr_get("hostname")
    result = mortal.run("flux", "overlay", "disconnect", "2")
    assert (result.returncode, result.stderr) == (
        0,
        f"flux-overlay: asking {host} (rank 0) to disconnect child {host} (rank 2)\n",
    )
    overlay(mortal, "status", "--wait=degraded", "--timeout=50s")
    assert overlay(mortal, "status", "--down").splitlines()[1] == "└─ 2 HOST: lost disconnected by request"
