"""`flux R`: what a site would lose is the way to make and check the inventory of its machine (flux-R(1), RFC 20)."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from flux_cli.cmd import rset
from flux_cli.errors import CommandError

ENCODE = ("encode", "-r0-3", "-c0-3", "-g0-1", "-Hn[0-3]", "-pfast:0-1", "-pslow:2")


class Run:
    """Runs `flux R`, whose standard input are sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._patch, self._capture = monkeypatch, capsys

    def __call__(self, *words: str, stdin: str = "", code: int = 0) -> str:
        self._patch.setattr("sys.stdin", io.StringIO(stdin))
        assert rset.command(list(words)) == code
        return self._capture.readouterr().out

    def fails(self, *words: str, stdin: str = "") -> str:
        with pytest.raises(CommandError) as failed:
            self(*words, stdin=stdin)
        assert failed.value.code == 1
        return str(failed.value)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(monkeypatch, capsys)


@pytest.fixture
def four(run: Run) -> str:
    return run(*ENCODE)


def execution(text: str) -> Any:
    return json.loads(text)["execution"]


def test_encode(run: Run, four: str) -> None:
    assert execution(four) == {
        "R_lite": [{"rank": "0-3", "children": {"core": "0-3", "gpu": "0-1"}}],
        "starttime": 0.0,
        "expiration": 0.0,
        "nodelist": ["n[0-3]"],
        "properties": {"fast": "0-1", "slow": "2"},
    }
    assert execution(run("encode", "-Ha,b"))["R_lite"] == [{"rank": "0-1", "children": {"core": "0"}}]
    assert execution(run("encode", "--local"))["R_lite"][0]["children"]["core"]


def test_encode_from_xml(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "host.xml"
    cores = "".join('<object type="Core"/>' for _ in range(3))
    file.write_text(
        f'<topology><info name="HostName" value="n7"/>{cores}<object type="OSDev" osdev_type="5"/></topology>'
    )
    assert execution(run("encode", f"--xml={file}"))["R_lite"][0]["children"] == {"core": "0-2", "gpu": "0"}
    file.write_text("<topology/>")
    assert "no host with cores" in run.fails("encode", f"--xml={file}")


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("-s",), ["rank[0-3]/core[0-3],gpu[0-1]"]),
        (("-n", "-r", "-c", "gpu"), ["n[0-3]", "0-3", "8"]),
        (("-c", "node"), ["4"]),
        (("-s", "-i1-2", "-x2"), ["rank1/core[0-3],gpu[0-1]"]),
        (("-r", "-p", "fast"), ["0-1"]),
        (("-r", "-p", "^fast,^slow"), ["3"]),
        (("-s", "-p", "none"), [""]),
    ],
)
def test_decode(run: Run, four: str, words: tuple[str, ...], shown: list[str]) -> None:
    assert run("decode", *words, stdin=four).splitlines() == shown


def test_sets_are_combined(run: Run, four: str) -> None:
    part = run("encode", "-r1-2", "-c0-1", "-Hn[1-2]")
    other = run("encode", "-r5", "-c0-1", "-Hm5")

    def short(command: str, *sets: str) -> str:
        return run("decode", "-s", stdin=run(command, stdin="".join(sets))).rstrip()

    assert short("diff", four, part) == "rank[0,3]/core[0-3],gpu[0-1] rank[1-2]/core[2-3],gpu[0-1]"
    assert short("intersect", four, part) == "rank[1-2]/core[0-1]"
    assert short("append", four, other) == "rank[0-3]/core[0-3],gpu[0-1] rank5/core[0-1]"
    assert short("remap", four, other) == "rank[0-3]/core[0-3],gpu[0-1] rank4/core[0-1]"
    assert run("decode", "-r", stdin=four + part + other).rstrip() == "0-3,5"
    assert "overlap" in run.fails("append", stdin=four + part)
    assert run.fails("diff", stdin=four) == "diff requires at least 2 resource sets"


def test_ranks_follow_hosts(run: Run, four: str) -> None:
    ranked = execution(run("rerank", "n[3,2,1,0]", stdin=four))
    assert ranked["nodelist"] == ["n[3,2,1,0]"] and ranked["properties"] == {"fast": "2-3", "slow": "1"}
    assert run.fails("rerank", "n[3,2]", stdin=four) == "Too few hosts specified (expected 4)"
    assert "has no host m7" in run.fails("rerank", "n[0-2],m7", stdin=four)


def test_properties_are_added(run: Run, four: str) -> None:
    found = execution(run("set-property", "fast:3", "new", stdin=four))["properties"]
    assert found == {"fast": "0-1,3", "slow": "2", "new": "0-3"}
    assert "ranks 7" in run.fails("set-property", "fast:7", stdin=four)
    assert "must not contain ^" in run.fails("set-property", "f^ast", stdin=four)


def test_verify(run: Run) -> None:
    host = run("encode", "-r5", "-c0-1", "-Hm5")
    more = run("encode", "-r5", "-c0-2", "-Hm5")
    assert run("verify", stdin=host + host) == ""
    assert run.fails("verify", stdin=more + host) == "rank 5 (m5) missing resources: core2"
    assert "got hostname 'm6', expected 'm5'" in run.fails("verify", stdin=host + run("encode", "-r5", "-Hm6"))
    assert "rank 4 not found" in run.fails("verify", stdin=host + run("encode", "-r4", "-Hm5"))
    assert "exactly 2" in run.fails("verify", stdin=host * 3)
    assert run("verify", stdin=host + more) == ""


def test_configuration(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "resource.toml"
    file.write_text(
        '[[resource.config]]\nhosts = "f[0-3]"\ncores = "0-3"\ngpus = "0"\n'
        '[[resource.config]]\nhosts = "f[2-3]"\nproperties = ["debug"]\n'
    )
    for path in (file, tmp_path):
        found = execution(run("parse-config", str(path)))
        assert found["nodelist"] == ["f[0-3]"] and found["properties"] == {"debug": "2-3"}
    for text, error in (
        ("[resource]\n", "resource.config or resource.path must be defined"),
        ('[[resource.config]]\ncores = "0"\n', "config[0]: missing key 'hosts'"),
        ('[[resource.config]]\nhosts = "a"\n', "a assigned no resources"),
    ):
        file.write_text(text)
        assert error in run.fails("parse-config", str(file))


@pytest.mark.parametrize(
    ("stdin", "error"),
    [("", "none on stdin"), ("x", "Failed to decode R"), ("[]", "expected an object"), ("{}", "version 1")],
)
def test_what_is_no_set_is_refused(run: Run, stdin: str, error: str) -> None:
    assert error in run.fails("decode", stdin=stdin)
