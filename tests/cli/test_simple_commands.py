"""Commands that talk to one service, as their users see them in a running instance of two brokers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flux.testing import Instance, wait_for
from flux_cli.cmd import dmesg, logger

MINIMAL = [f"--plugins={Path(__file__).parent.parent / 'kernel' / 'kernel.toml'}"]

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def running(instance: Callable[..., Instance]) -> Instance:
    return instance(size=2, args=MINIMAL)


def fails(result: subprocess.CompletedProcess[str]) -> str:
    """What a command that failed said."""
    assert result.returncode == 1 and result.stdout == ""
    return result.stderr.removesuffix("\n")


# -- ping


@pytest.mark.parametrize(
    ("args", "label"),
    [
        (["log"], "log.ping"),
        (["1"], "1!broker.ping"),
        (["1!log"], "1!log.ping"),
        (["--rank=1", "log"], "1!log.ping"),
        (["any!log"], "log.ping"),
        (["any"], "broker.ping"),
        ([f"{os.uname().nodename}!log"], "0!log.ping"),
        ([os.uname().nodename], "0!broker.ping"),
        ([f"-r{os.uname().nodename}", "log"], "0!log.ping"),
    ],
)
def test_ping_targets(args: list[str], label: str, run: Run) -> None:
    result = run("ping", "--count=2", "--interval=0", *args)
    line = rf"{re.escape(label)} pad=0 seq=(\d) time=\d+\.\d{{3}} ms \([0-9a-f!]+\)"
    found = [re.fullmatch(line, text) for text in result.stdout.splitlines()]
    assert [match and match[1] for match in found] == ["0", "1"], result


def test_ping_upstream_goes_to_the_parent(run: Run) -> None:
    assert "upstream!log.ping pad=0 seq=0" in run("ping", "-c1", "-rupstream", "log", rank=1).stdout


def test_ping_padding_userid_and_batch(run: Run, running: Instance) -> None:
    owner = running.handle().attr_get("security.owner")
    result = run("ping", "--pad=100000", "--userid", "--batch", "--count=20", "--interval=0.001", "log")
    lines = result.stdout.splitlines()
    assert [f"pad=100000 userid={owner} rolemask=0x5 seq={i} " in line for i, line in enumerate(lines)] == [True] * 20


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["-c1", "nosuch"], "flux-ping: nosuch.ping: No service matching nosuch.ping is registered"),
        (["-c1", "7!log"], "flux-ping: 7!log.ping: No route to host"),
        (["--rank=1", "0!log"], "flux-ping: the rank is given twice: by --rank and in '0!log'"),
        (["x!log"], "flux-ping: 'x' is no rank: a number, a host of the instance, any or upstream is"),
        (["--batch", "log"], "flux-ping: --batch needs --count: it prints after the last request is sent"),
    ],
)
def test_ping_refusals(args: list[str], text: str, run: Run) -> None:
    assert fails(run("ping", *args)) == text


def test_ping_goes_on_until_interrupted(spawn: Callable[..., subprocess.Popen[str]]) -> None:
    process = spawn("ping", "--interval=0.01", "log")
    assert process.stdout is not None
    assert ["seq=2 " in process.stdout.readline() for _ in range(3)] == [False, False, True]
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=50)
    assert (process.returncode, stderr) == (-signal.SIGINT, "")


# -- attributes


def test_attributes_are_got_set_and_listed(run: Run) -> None:
    assert run("getattr", "size").stdout == "2\n"
    assert run("getattr", "rank", rank=1).stdout == "1\n"
    assert run("setattr", "log-stderr-level", "2").returncode == 0
    assert run("getattr", "log-stderr-level").stdout == "2\n"
    names = run("lsattr").stdout.split()
    assert names == sorted(names) and {"rank", "size", "version"} <= set(names)
    listed = [line.split(maxsplit=1) for line in run("lsattr", "--values").stdout.splitlines()]
    assert ["log-stderr-level", "2"] in listed and [name for name, _ in listed] == names
    assert json.loads(run("lsattr", "--json").stdout)["size"] == "2"


def test_attribute_refusals_name_the_attribute(run: Run) -> None:
    assert fails(run("getattr", "siez")) == "flux-getattr: attribute siez is not set, did you mean size?"
    assert fails(run("setattr", "nonsense", "1")).startswith("flux-setattr: nonsense: ")
    assert fails(run("setattr", "size", "3")).startswith("flux-setattr: size: ")
    assert fails(run("setattr", "--force", "size", "3")).startswith("flux-setattr: size: ")
    assert run("getattr", "size").stdout == "2\n"
    assert "give either NAME and VALUE, or --expunge" in fails(run("setattr", "size"))


# -- events


def publish_until_seen(handle: Any, process: subprocess.Popen[str], first: str) -> None:
    """A subscriber is ready when it prints what is published over and over."""
    import select

    assert process.stdout is not None
    while not select.select([process.stdout], [], [], 0.02)[0]:
        handle.event_publish(first)


def test_event_sub_prints_what_matches(
    running: Instance, run: Run, spawn: Callable[..., subprocess.Popen[str]]
) -> None:
    handle = running.handle()
    process = spawn("event", "sub", "ready", "weather.", "done")
    publish_until_seen(handle, process, "ready")
    for args in (
        ["weather.rain", '{"mm":', "3}"],
        ["-s", "other", "{}"],
        ["--raw", "weather.raw", "tab\there"],
        ["--private", "--synchronous", "weather.private"],
    ):
        assert run("event", "pub", "--loopback", *args).returncode == 0
    handle.event_publish("done")
    assert process.stdout is not None
    lines = [line for line in iter(process.stdout.readline, "done\t\n") if line != "ready\t\n"]
    assert lines == ['weather.rain\t{"mm":3}\n', "weather.raw\ttab\\there\n", "weather.private\t\n"]
    process.send_signal(signal.SIGINT)
    assert process.wait(50) == -signal.SIGINT


def test_bytes_that_are_no_text_are_refused(run: Run) -> None:
    said = fails(run("event", "pub", os.fsdecode(b"caf\xe9")))
    assert said == r"flux-event: 'caf\udce9' is not text in utf-8: surrogates not allowed"


def test_event_sub_stops_after_count_and_prints_raw(
    running: Instance, spawn: Callable[..., subprocess.Popen[str]]
) -> None:
    handle = running.handle()
    process = spawn("event", "sub", "--raw", "--count=2", "begin")

    def has_ended() -> bool:
        handle.event_publish("begin", b"a\tb")
        return process.poll() is not None

    wait_for(has_ended, what="the end of flux event sub")
    assert (process.returncode, process.communicate()[0]) == (0, "begin\ta\tb\n" * 2)


def test_event_pub_refuses_what_is_no_object(run: Run) -> None:
    assert fails(run("event", "pub", "a", "[1]")) == "flux-event: payload is not a JSON object: [1]"
    assert fails(run("event", "pub", "a", "{")).startswith("flux-event: payload is not JSON: ")
    assert "did you mean 'pub'?" in fails(run("event", "pubb", "a"))
    assert "there is no command 'zz': it takes pub, sub" in fails(run("event", "zz"))


# -- log


def test_logger_and_dmesg(run: Run) -> None:
    assert run("dmesg", "--clear").returncode == 0
    run("logger", "--severity=warning", "--appname=me", "two\nlines", rank=0)
    run("logger", "plain", "words")
    lines = [line.split(" ", 1)[1] for line in run("dmesg").stdout.splitlines()]
    own = [line for line in lines if line.startswith(("me.", "logger."))]
    assert own == ["me.warning[0]: two", "me.warning[0]: lines", "logger.info[0]: plain words"]
    assert "logger.info[0]: plain words" in run("dmesg", "--read-clear").stdout
    assert "plain words" not in run("dmesg").stdout


def test_dmesg_belongs_to_the_broker_asked(run: Run) -> None:
    run("logger", "only on one", rank=1)
    assert "logger.info[1]: only on one" in run("dmesg", rank=1).stdout
    assert "only on one" not in run("dmesg", rank=0).stdout


@pytest.mark.parametrize("option", ["--follow", "--new"])
def test_dmesg_follows(option: str, running: Instance, spawn: Callable[..., subprocess.Popen[str]]) -> None:
    import select

    handle = running.handle()
    handle.rpc("log.clear").get()
    process = spawn("dmesg", option)
    assert process.stdout is not None
    while not select.select([process.stdout], [], [], 0.02)[0]:
        entry = logger.format_entry(6, "test", 0, "tick")
        handle.rpc("log.append", entry.encode()).get()
    assert process.stdout.readline().endswith("test.info[0]: tick\n")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=50)
    assert process.returncode == -signal.SIGINT


@pytest.mark.parametrize(("delta", "third"), [(False, "+6.000000"), (True, "+4.000000")])
def test_human_times_are_differences_within_a_minute(delta: bool, third: str) -> None:
    entries = [
        dmesg.parse_entry(f"<{level << 3}>1 2026-05-01T10:0{minute}:0{second}.5Z 3 app 17 - - text")
        for level, minute, second in [(6, 0, 1), (3, 0, 3), (3, 0, 7), (7, 1, 0)]
    ]
    show = dmesg.HumanFormat(False, delta)
    lines = [show(entry) for entry in entries]
    assert re.fullmatch(r"\[May01 \d\d:\d0\] app.info\[3\]: text", lines[0])
    assert lines[1:3] == ["[  +2.000000] app.err[3]: text", f"[  {third}] app.err[3]: text"]
    assert re.fullmatch(r"\[May01 \d\d:\d1\] app.debug\[3\]: text", lines[3])


def test_dmesg_delta_needs_human(run: Run) -> None:
    assert "--delta goes with --human" in fails(run("dmesg", "--delta"))


def test_color_is_for_terminals_or_on_demand(run: Run) -> None:
    run("logger", "--severity=err", "red")
    assert "\033[31mred\033[0m" in run("dmesg", "--color=always").stdout
    assert "\033" not in run("dmesg").stdout


def test_entry_in_another_form_is_shown_as_it_is() -> None:
    assert dmesg.PlainFormat(False)(dmesg.parse_entry("no syslog entry")).endswith(": no syslog entry")


@pytest.mark.parametrize("args", [["--appname=a b", "x"], ["--severity=loud", "x"], []])
def test_logger_refusals(args: list[str], run: Run) -> None:
    assert "usage: flux logger" in fails(run("logger", *args))


# -- rpc, version


def test_rpc_prints_the_response(run: Run) -> None:
    assert json.loads(run("rpc", "attr.get", '{"name": "size"}').stdout)["value"] == "2"
    assert json.loads(run("rpc", "--rank=1", "attr.get", '{"name": "rank"}').stdout)["value"] == "1"
    assert json.loads(run("rpc", "attr.get", "-", input='{"name": "rank"}').stdout)["value"] == "0"
    assert run("rpc", "log.stats-clear").stdout == ""
    assert run("rpc", "--noresponse", "attr.get", "{}").returncode == 0


def test_rpc_streams_until_the_end_or_a_timeout(run: Run) -> None:
    run("logger", "streamed")
    request = ["rpc", "--streaming", "log.dmesg"]
    assert "streamed" in run(*request, '{"follow": false}').stdout

    def backlog_came_in_time() -> bool:
        result = run(*request, "--timeout=0.5s", '{"follow": true}')
        assert (result.returncode, result.stderr) == (1, "flux-rpc: nothing came within 0.5s\n")
        return "streamed" in result.stdout

    wait_for(backlog_came_in_time, what="what was logged before the time was over")


def test_rpc_errors(run: Run) -> None:
    assert fails(run("rpc", "no.such")) == "flux-rpc: No service matching no.such is registered"
    assert fails(run("rpc", "attr.nonsense")) == "flux-rpc: Unknown service method 'attr.nonsense'"
    assert fails(run("rpc", "attr.get", "1")) == "flux-rpc: payload is not a JSON object: 1"


def test_version_in_an_instance(run: Run, running: Instance) -> None:
    lines = dict(line.split(maxsplit=1) for line in run("version").stdout.splitlines())
    assert lines["broker:"] == "0.88.0" and lines["FLUX_URI:"] == running.uri
    assert lines["commands:"].startswith("flux-kernel ")


def test_parent_of_a_top_instance(run: Run) -> None:
    """Scripts say --parent where they want the outermost instance."""
    assert run("--parent", "getattr", "rank").stdout == "0\n"


def test_ping_takes_a_host_and_does_not_wait_with_interval_0(run: Run) -> None:
    host = run("getattr", "hostlist").stdout.partition(",")[0].strip().partition("[")[0]
    result = run("ping", "--interval=0", "--count=20", f"{host}!broker")
    assert result.stdout.count("0!broker.ping pad=0 seq=") == 20
    assert run("ping", "--count=1", "nosuchhost!broker").returncode == 1


def test_confirmed_events_are_numbered_one_after_the_other(run: Run) -> None:
    first, second = (run("event", "pub", "--synchronous", "--loopback", "numbered") for _ in range(2))
    assert first.stdout.startswith("seq=") and second.stdout.startswith("seq=")
    assert int(second.stdout.partition("=")[2]) > int(first.stdout.partition("=")[2])
