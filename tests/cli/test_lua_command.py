"""`flux lua`: the table flux, arguments, errors (flux-lua(1))."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flux.testing import Instance


@pytest.fixture(scope="module")
def pair() -> Iterator[Instance]:
    with Instance(size=2) as instance:
        yield instance


def lua(instance: Instance, *args: str) -> subprocess.CompletedProcess[str]:
    return instance.run("flux", "lua", *args, check=False, timeout=60)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ('print (f.rank, f.size, f:getattr "size")', "0\t2\t2"),
        ('print (f:rpc ("attr.get", { name = "rank" }, 1).value)', "1"),
        ('f:setattr ("log-stderr-level", "5"); print (f:getattr "log-stderr-level")', "5"),
        ('f.kvs:put ("l.a", { x = { 1, 2, 3 } }); f.kvs:commit (); print (f.kvs:get "l.a".x[3])', "3"),
        (
            'f.kvs:mkdir "d"; f.kvs:commit (); print (f.kvs:exists "d", f.kvs:exists "e", #f.kvs:dir "d")',
            "true\tfalse\t0",
        ),
        (
            'f:subscribe "x"; f:publish ("x.y", { n = 7 }); local e = f:recv_event (); print (e.topic, e.payload.n)',
            "x.y\t7",
        ),
        ('local done, text = pcall (f.rpc, f, "no.such"); print (done)', "false"),
        ('f:log (6, "hello"); print (type (python), type (f.rpc), arg[1])', "nil\tfunction\tfirst"),
    ],
)
def test_bindings(pair: Instance, code: str, expected: str) -> None:
    result = lua(pair, "-e", f"local f = flux.open (); {code}", "first")
    assert (result.stderr, result.stdout) == ("", f"{expected}\n")


def test_a_file_with_arguments(pair: Instance, tmp_path: Path) -> None:
    (tmp_path / "script.lua").write_text("print (#arg, arg[1], arg[2]); os.exit (3)")
    result = lua(pair, str(tmp_path / "script.lua"), "--one", "two")
    assert (result.returncode, result.stdout) == (3, "2\t--one\ttwo\n")


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ((), "flux-lua: a FILE to run is needed, or -e CODE\n"),
        (("/nonexistent.lua",), "flux-lua: /nonexistent.lua: No such file or directory\n"),
        (("-e", "x y"), "flux-lua: (command line):1: syntax error near 'y'\n"),
        (
            ("-e", '\nflux.open ():rpc "x"'),
            "flux-lua: (command line):2: No service matching x is registered\n",
        ),
    ],
)
def test_errors(pair: Instance, args: tuple[str, ...], text: str) -> None:
    result = lua(pair, *args)
    assert (result.returncode, result.stderr) == (1, text)
