"""Where log entries go, as the log-* attributes of flux-broker-attributes(7) say; flux-dmesg(1) as a pipe sees it."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

import flux
from flux.errors import FluxError
from flux.testing import Instance, wait_for
from flux_plugins.log.ring import parse_entry
from flux_plugins.log.sinks import FileSink, SyslogSink

DMESG = [os.path.join(os.path.dirname(sys.executable), "flux"), "dmesg"]


def entry(severity: int, text: str) -> str:
    return f"<{severity << 3}>1 2026-01-02T03:04:05.000006Z 1 app 7 - - {text}"


def test_file_has_what_is_forwarded_from_all_ranks(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with Instance(2, attrs={"log-filename": str(path), "log-forward-level": "4", "log-stderr-level": "-1"}) as instance:
        for rank in range(2):
            instance.run("flux", "logger", "--severity=warning", f"kept of {rank}", rank=rank)
            instance.run("flux", "logger", "--severity=notice", f"left out of {rank}", rank=rank)
        wait_for(lambda: path.read_text().count("kept of") == 2, what="two entries")
        assert "left out" not in path.read_text()
        assert "logger.warning[1]: kept of 1\n" in path.read_text()


def test_file_that_cannot_be_written_stops_the_broker() -> None:
    with pytest.raises(FluxError, match="did not start"):
        Instance(1, attrs={"log-filename": "/proc/nosuch/log"}).start()


def test_level_and_ring_size_bound_what_is_kept() -> None:
    attrs = {"log-level": "5", "log-ring-size": "4", "log-stderr-level": "-1"}
    with Instance(1, attrs=attrs) as instance:
        for i in range(10):
            instance.run("flux", "logger", "--severity=notice", f"n{i}")
        instance.run("flux", "logger", "--severity=info", "too fine")
        lines = instance.run("flux", "dmesg").stdout.splitlines()
        assert [line.rsplit(" ", 1)[1] for line in lines] == ["n6", "n7", "n8", "n9"]


def run_with_stderr(*attrs: str) -> list[str]:
    """What an instance of two brokers prints on stderr when both log at four levels."""
    script = "for s in crit err warning; do flux exec -n flux logger --severity=$s at-$s; done; flux dmesg >/dev/null"
    env = {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
    command = [DMESG[0], "start", "-s2", *(f"-S{attr}" for attr in attrs), "sh", "-c", script]
    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=50)
    return sorted(line[line.index("logger.") :] for line in result.stderr.splitlines() if "logger." in line)


def test_leader_prints_its_own_and_what_is_forwarded() -> None:
    crit = "logger.crit[{}]: at-crit"
    # what is critical is printed where it arises as well
    assert run_with_stderr("log-stderr-mode=leader", "log-stderr-level=3") == [
        crit.format(0), crit.format(1), crit.format(1), "logger.err[0]: at-err", "logger.err[1]: at-err",
    ]  # fmt: skip


def test_local_mode_prints_each_brokers_own() -> None:
    lines = run_with_stderr("log-stderr-mode=local", "log-stderr-level=4", "log-forward-level=-1")
    assert lines == [f"logger.{level}[{rank}]: at-{level}" for level in ("crit", "err", "warning") for rank in (0, 1)]


def test_syslog_gets_entries_up_to_its_level(monkeypatch: pytest.MonkeyPatch) -> None:
    import syslog

    seen: list[tuple[int, str]] = []
    monkeypatch.setattr(syslog, "syslog", lambda level, text: seen.append((level, text)))
    sink = SyslogSink(4, "/ƒ4dXF1y")
    for severity in (3, 4, 5):
        sink.write(parse_entry(entry(severity, f"s{severity}")))
    sink.close()
    who = f"{pwd.getpwuid(os.getuid()).pw_name}@/ƒ4dXF1y"
    assert seen == [(3, f"{who} app.err[1]: s3"), (4, f"{who} app.warning[1]: s4")]


def test_file_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    sink = FileSink(str(path))
    sink.write(parse_entry(entry(3, "after")))
    sink.close()
    first, second = path.read_text().splitlines()
    assert (first, second.endswith("app.err[1]: after")) == ("before", True)


def test_dmesg_that_nobody_reads_any_more_ends_without_another_entry() -> None:
    with Instance(1, attrs={"log-stderr-level": "-1"}) as instance:
        with flux.Flux(instance.uri) as handle:
            handle.log(6, "one")
        process = subprocess.Popen([*DMESG, "-f"], env=instance.env, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(20) == 141


def test_dmesg_as_json() -> None:
    with Instance(1) as instance:
        instance.run("flux", "logger", "--severity=notice", "--appname=me", "hello")
        lines = [json.loads(line) for line in instance.run("flux", "dmesg", "--json").stdout.splitlines()]
        mine = next(line for line in lines if line["name"] == "me")
        assert (mine["level"], mine["rank"], mine["text"]) == ("notice", "0", "hello")
