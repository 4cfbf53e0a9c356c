"""`flux lua`: the table flux, arguments, errors (flux-lua(1))."""

from __future__ import annotations

import signal
import subprocess
import sys
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


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("flux.open (5)", "flux.open: URI must be a string, not 5"),
        ("f:rpc ()", "f:rpc: TOPIC must be a string, not nil"),
        ("f:rpc ({})", "f:rpc: TOPIC must be a string, not a table"),
        ('f.rpc ("x")', "f:rpc: it is called with a colon: f:rpc (...)"),
        ('f:rpc ("x", 5)', "f:rpc: PAYLOAD must be a table, not 5"),
        ('f:rpc ("x", {}, "a")', 'f:rpc: RANK must be an integer, not "a"'),
        ('f:rpc ("x", { a = { print } })', "PAYLOAD: a function is no data"),
        ("f.kvs:put (5, 5)", "kvs:put: KEY must be a string, not 5"),
        (
            'f.kvs:put ("a")',
            "kvs:put: VALUE must be a string, a number, a boolean or a table, not nil",
        ),
        ('f:publish ("t.x", 5)', "f:publish: PAYLOAD must be a table, not 5"),
        (
            'f:publish ("t.x", { [true] = 1 })',
            "PAYLOAD: a key of a table is a string or an integer, not true",
        ),
        (r'f:getattr ("\xff")', "f:getattr: NAME is no text in UTF-8"),
        (r'error ("\xff")', r"\xff"),
        ("f:log (3)", "f:log: TEXT must be a string, a number or a boolean, not nil"),
    ],
)
def test_wrong_arguments_are_told_with_what_would_be_right(pair: Instance, code: str, text: str) -> None:
    result = lua(pair, "-e", f"local f = flux.open ()\n{code}")
    assert (result.returncode, result.stderr) == (1, f"flux-lua: (command line):2: {text}\n")


def test_what_a_script_wrote_is_written_at_its_end(pair: Instance, tmp_path: Path) -> None:
    code = 'io.write (arg[1], " no newline"); local f = io.open (arg[1], "w"); f:write ("abc"); G = f; error ("end")'
    result = lua(pair, "-e", code, str(tmp_path / "file"))
    assert (result.returncode, result.stdout) == (1, f"{tmp_path}/file no newline")
    assert (tmp_path / "file").read_text() == "abc"


@pytest.mark.parametrize("head", ["#!/usr/bin/env flux lua\n", "\ufeff", "\ufeff#!\n"])
def test_a_first_line_for_the_system_and_a_byte_order_mark_are_skipped(
    pair: Instance, tmp_path: Path, head: str
) -> None:
    script = tmp_path / "h.lua"
    script.write_text(f'{head}print "run"\nerror "here"')
    result = lua(pair, str(script))
    line = 2 + head.count("\n")
    assert (result.stdout, result.stderr) == ("run\n", f"flux-lua: {script}:{line}: here\n")


@pytest.mark.parametrize(
    "code",
    ["while true do pcall (function () while true do end end) end", 'f:subscribe "none"; f:recv_event ()'],
)
def test_an_interrupt_ends_it(pair: Instance, code: str) -> None:
    command = [sys.executable, "-m", "flux_cli.main", "lua", "-e", f"local f = flux.open (); print (1); {code}"]
    with subprocess.Popen(command, env={**pair.env, "FLUX_URI": pair.uri_of(0)}, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"1\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == -signal.SIGINT
