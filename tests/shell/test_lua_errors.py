"""What the Lua initrc says to scripts that are wrong, and what becomes of their values and files."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_hook_sequence import standalone
from test_lua_initrc import got


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (r'shell.log ("\xff")', "shell.log: TEXT is no text in UTF-8"),
        (r'shell.setenv ("A", "\xff")', "shell.setenv: VALUE is no text in UTF-8"),
        (r'shell.setenv ("A", "a\0b")', "setenv A: a value cannot hold a zero byte"),
        (r'shell.options.x = { "\xff" }', "a string is no text in UTF-8"),
        (r'error ("\xff", 1)', r"\xff"),
        ('source "/"', "source /: Is a directory"),
        ('source "/etc/passwd/x.lua"', "source /etc/passwd/x.lua: Not a directory"),
        ("source ()", "source: GLOB must be a string, not nil"),
        ("shell.source_rcpath {}", "shell.source_rcpath: GLOB must be a string, not a table"),
        ('shell.get_rankinfo ("x")', 'shell.get_rankinfo: RANK must be an integer, not "x"'),
        ("shell.get_rankinfo ({})", "shell.get_rankinfo: RANK must be an integer, not a table"),
        ('shell.options.verbose = "x"', 'shell.options.verbose must be an integer, not "x"'),
        ('shell.options[5] = "x"', "shell.options: the name of an option is a string, not 5"),
        ("shell.options.x = print", "shell.options.x: a function is no data"),
        ("shell.options.x = { { print } }", "shell.options.x: a function is no data"),
        (
            "local t = {}; t.t = t; shell.options.x = t",
            "a table is nested more than 100 deep, or in itself",
        ),
        (
            'shell.setenv ("A", {})',
            "shell.setenv: VALUE must be a string, a number or a boolean, not a table",
        ),
        ("shell.log ({})", "shell.log: TEXT must be a string, a number or a boolean, not a table"),
        ("shell.die (print)", "shell.die: TEXT must be a string, a number or a boolean, not a function"),
        ("plugin.searchpath = nil", "plugin.searchpath is a string, directories separated by colons, not nil"),
        ('shell.prepend_path ("A")', "shell.prepend_path: DIRECTORY must be a string, not nil"),
        ("shell.env_strip (5)", "shell.env_strip: PATTERN must be a string"),
        ('plugin.load { file = "*.py", cnf = {} }', "plugin.load has no key cnf: did you mean conf?"),
        ("io.open ()", "bad argument #1 to 'open' (string expected, got no value)"),
        ('io.popen "true"', "'popen' not supported"),
    ],
)
def test_errors_tell_file_line_and_what_would_be_right(tmp_path: Path, script: str, told: str) -> None:
    result = standalone(tmp_path, ["echo", "never"], f"\n{script}")
    assert (result.returncode, result.stdout) == (1, "")
    assert f"/initrc.lua:2: {told}\n" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("name", ["initrc.lua", "other.lua"])
def test_a_script_that_sources_itself_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "other.lua").write_text(f'source "{tmp_path}/{name}"')
    told = standalone(tmp_path, ["true"], f'source "{tmp_path}/other.lua"').stderr
    assert f"/other.lua:1: source {tmp_path}/{name}: the script is running: it would run itself without end" in told


@pytest.mark.parametrize(
    ("value", "expected"),
    [("true", "true"), ("1.5", "1.5"), ("3", "3"), ("0.1 + 0.2", "0.3"), ("2^53", "9.007199254741e+15")],
)
def test_values_are_written_as_lua_does(tmp_path: Path, value: str, expected: str) -> None:
    assert got(tmp_path, f'shell.setenv ("GOT", {value})') == [expected]
    assert standalone(tmp_path, ["true"], f"shell.log ({value})").stderr == f"flux-shell[0]: {expected}\n"


def test_variables_that_are_no_text_are_their_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD", "a\udcff")
    assert got(tmp_path, 'shell.setenv ("GOT", shell.getenv "ODD" == "a\\xff" and shell.getenv ().ODD:byte (2))') == [
        "255"
    ]


# -- the fatal error


@pytest.mark.parametrize(
    "script",
    [
        'pcall (shell.die, "the end")',
        'pcall (shell.die, "the end"); error ("another")',
        'pcall (shell.die, "the end"); pcall (shell.die, "another")',
        'plugin.register { name = "p", handlers = { { topic = "task.init", fn = function ()\n'
        'pcall (shell.die, "the end") end } } }',
    ],
)
def test_no_script_catches_a_fatal_error(tmp_path: Path, script: str) -> None:
    result = standalone(tmp_path, ["echo", "never"], script)
    assert (result.returncode, result.stdout) == (1, "")
    assert "FATAL: the end\n" in result.stderr and "another" not in result.stderr


# -- the file


@pytest.mark.parametrize("head", ["#!/usr/bin/lua\n", "\ufeff", "\ufeff#!/usr/bin/lua\n"])
def test_a_first_line_for_the_system_and_a_byte_order_mark_are_skipped(tmp_path: Path, head: str) -> None:
    told = standalone(tmp_path, ["true"], f'{head}shell.log "run"\nerror "here"').stderr
    assert "flux-shell[0]: run\n" in told
    assert f"initrc.lua:{2 + head.count(chr(10))}: here" in told


def test_what_scripts_wrote_is_in_the_files(tmp_path: Path) -> None:
    script = """
        local function path (name) return shell.rcpath .. "/" .. name end
        FIRST, TASK = io.open (path "first", "w"), io.open (path "task", "w")
        FIRST:write ("begin ")
        io.output (path "second"); io.write ("two"); io.output (path "third"); io.write ("three")
        local function note (topic) FIRST:write (topic) end
        local function in_task () TASK:write ("task") end
        plugin.register { name = "p", handlers = {
          { topic = "shell.exit", fn = note }, { topic = "task.exec", fn = in_task } } }"""
    assert standalone(tmp_path, ["true"], script).returncode == 0
    written = [(tmp_path / name).read_text() for name in ("first", "second", "third", "task")]
    assert written == ["begin shell.exit", "two", "three", "task"]
