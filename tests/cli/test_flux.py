"""The `flux` command itself: how sub-commands are found, what they inherit, how they end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flux import discovery
from flux.installed import entry_points
from flux_cli import environment, lookup
from flux_cli.composition_edit import write_text

FLUX = os.path.join(os.path.dirname(sys.executable), "flux")


def run_flux(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FLUX_")}
    return subprocess.run([FLUX, *args], env={**environ, **env}, capture_output=True, text=True, timeout=50)


def write_program(folder: Path, name: str, text: str, mode: int = 0o755) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text)
    path.chmod(mode)
    return path


# -- finding


def test_program_on_the_exec_path_gets_arguments_and_gives_the_exit_code(tmp_path: Path) -> None:
    write_program(tmp_path, "flux-hello", '#!/bin/sh\necho "$0" "$@"\nexit 7\n')
    result = run_flux("hello", "a b", "-c", FLUX_EXEC_PATH=str(tmp_path))
    assert (result.stdout, result.returncode) == (f"{tmp_path}/flux-hello a b -c\n", 7)


def test_python_program_needs_no_execute_permission(tmp_path: Path) -> None:
    write_program(tmp_path, "flux-hello.py", "import sys; print(sys.argv[1:])", mode=0o644)
    assert run_flux("hello", "x", FLUX_EXEC_PATH=str(tmp_path)).stdout == "['x']\n"


def test_prepended_path_goes_before_installed_commands_and_they_before_the_path(tmp_path: Path) -> None:
    write_program(tmp_path, "flux-version", "#!/bin/sh\necho mine\n")
    assert run_flux("version", FLUX_EXEC_PATH_PREPEND=str(tmp_path)).stdout == "mine\n"
    assert run_flux("version", FLUX_EXEC_PATH=str(tmp_path)).stdout.startswith("commands:")


def test_slash_bypasses_the_search(tmp_path: Path) -> None:
    program = write_program(tmp_path, "anything", "#!/bin/sh\necho direct\n")
    assert run_flux(str(program)).stdout == "direct\n"
    missing = run_flux(f"{tmp_path}/missing")
    assert (missing.returncode, missing.stderr) == (
        127,
        f"flux: {tmp_path}/missing: No such file or directory\n",
    )
    assert run_flux(str(tmp_path)).returncode == 126


@pytest.mark.parametrize(
    ("typed", "hint"),
    [("modul", "Did you mean 'module'?"), ("hallo", "Did you mean 'hello'?"), ("zzzzzz", "`flux help` lists them.")],
)
def test_unknown_command_gets_a_suggestion(typed: str, hint: str, tmp_path: Path) -> None:
    write_program(tmp_path, "flux-hello", "#!/bin/sh\n")
    result = run_flux(typed, FLUX_EXEC_PATH=str(tmp_path))
    assert result.returncode == 1
    assert result.stderr == f"flux: '{typed}' is not a flux command. {hint}\n"


def test_no_command_and_unknown_options_are_usage_errors() -> None:
    assert "which command?" in run_flux().stderr
    result = run_flux("--nonsense", "version")
    assert result.returncode == 1 and "there is no option --nonsense" in result.stderr


def test_verbose_shows_where_it_looked(tmp_path: Path) -> None:
    write_program(tmp_path, "flux-hello", "#!/bin/sh\n")
    result = run_flux("-v", "hello", FLUX_EXEC_PATH=str(tmp_path))
    assert f"flux: looking for {tmp_path}/flux-hello: yes" in result.stderr
    assert f"flux: FLUX_EXEC_PATH={tmp_path}" in result.stderr


def test_short_options_combine() -> None:
    result = run_flux("-vV")
    assert result.stdout.startswith("commands:") and "looking for version" in result.stderr


# -- the cache of installed commands


def test_cached_commands_are_what_discovery_finds() -> None:
    entries = discovery.index().entries["commands"]
    rows = {name: discovery.Entry(*row) for name, row in entry_points("commands").items()}
    assert rows == entries
    found = {name: (command.target, command.dist, command.version) for name, command in lookup.installed().items()}
    assert found == {name: (entry.target, entry.dist, entry.version) for name, entry in entries.items()}


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"interpreter": 1}', b"\xff"])
def test_damaged_cache_is_replaced(damage: bytes, tmp_path: Path) -> None:
    env = {"XDG_CACHE_HOME": str(tmp_path)}
    assert run_flux("version", **env).returncode == 0
    caches = list((tmp_path / "flux-kernel").glob("index-*.json"))
    assert caches
    for cache in caches:
        cache.write_bytes(damage)
    assert run_flux("version", **env).stdout.startswith("commands:  flux-kernel ")
    assert all(cache.stat().st_size > 100 for cache in caches)


def test_command_without_an_instance_imports_nothing_heavy() -> None:
    run_flux("version")
    words = [sys.executable, "-X", "importtime", FLUX, "version"]
    environ = {name: value for name, value in os.environ.items() if name != "FLUX_URI"}
    result = subprocess.run(words, capture_output=True, text=True, env=environ, timeout=50)
    imported = set(re.findall(r"\| +(\S+)$", result.stderr, re.MULTILINE))
    assert "flux_cli.cmd.version" in imported
    heavy = {
        "argparse",
        "asyncio",
        "flux.core.handle",
        "flux.discovery",
        "importlib.metadata",
        "msgspec",
        "typing",
        "zmq",
    }
    assert not imported & heavy


# -- environment


def test_search_paths_are_built_once(tmp_path: Path) -> None:
    environ = {
        "FLUX_EXEC_PATH_PREPEND": "/a:/b",
        "FLUX_EXEC_PATH": "/c:/a",
        "FLUX_MODULE_PATH_PREPEND": "/m",
        "FLUX_LUA_PATH_PREPEND": "/l/?.lua",
        "PATH": "/bin",
    }
    environment.prepare(environ)
    expected = {"FLUX_EXEC_PATH": "/a:/b:/c", "FLUX_MODULE_PATH": "/m", "LUA_PATH": "/l/?.lua;;"}
    assert {name: environ[name] for name in expected} == expected
    again = dict(environ)
    environment.prepare(again)
    assert again == environ


def test_lua_path_without_default_stays_without() -> None:
    environ = {"FLUX_LUA_PATH_PREPEND": "/l/?.lua", "LUA_PATH": "/own/?.lua", "PATH": "/bin"}
    environment.prepare(environ)
    assert environ["LUA_PATH"] == "/l/?.lua;/own/?.lua"


def test_flux_started_by_path_is_found_by_name() -> None:
    result = run_flux("env", "sh", "-c", "command -v flux", PATH="/usr/bin:/bin")
    assert result.stdout.strip() == FLUX


def test_env_is_for_a_shell_and_runs_as_env_does() -> None:
    result = run_flux("env", FLUX_PYTHONPATH_PREPEND="/prepended", PYTHONPATH="/own $x", OTHER="1")
    assert "export PYTHONPATH='/prepended:/own $x'" in result.stdout.splitlines()
    assert "OTHER" not in result.stdout
    assert run_flux("env", "WHO=me", "sh", "-c", "echo $WHO; exit 4").returncode == 4


# -- how commands end


def test_no_instance_is_one_line_with_the_commands_name() -> None:
    result = run_flux("getattr", "rank")
    assert result.returncode == 1
    assert result.stderr == (
        "flux-getattr: no Flux instance to connect to: FLUX_URI is not set, and no system instance is at "
        "/run/flux/local (try flux start)\n"
    )


def test_usage_error_of_a_command_shows_its_usage() -> None:
    result = run_flux("ping", "--count=x", "kvs")
    assert result.returncode == 1
    assert result.stderr.startswith("usage: flux ping") and "flux-ping: argument -c/--count: 'x'" in result.stderr


def test_reader_that_goes_away_is_no_error_message() -> None:
    process = subprocess.Popen([FLUX, "help", "plugins"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, pipesize=4096)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.wait(50) == 141
    with process.stderr as stream:
        assert stream.read() == b""


def test_full_disk_and_closed_output_are_handled() -> None:
    with open("/dev/full", "w") as full:
        result = subprocess.run([FLUX, "help"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=50)
    assert result.returncode == 1 and result.stderr == "flux-help: No space left on device\n"
    with open("/dev/full", "w") as full:
        result = subprocess.run([FLUX, "version"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=50)
    assert (result.returncode, result.stderr) == (1, "flux-version: No space left on device\n")
    assert subprocess.run(["sh", "-c", f"{FLUX} help >&-"], timeout=50).returncode == 0


def test_closed_input_is_empty() -> None:
    command = ["sh", "-c", f"{FLUX} batch -n1 <&-"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert (result.returncode, "stdin does not appear to start with '#!'" in result.stderr) == (1, True), result.stderr


# -- text and bytes


def test_arguments_that_are_no_text_are_printed_as_they_came(tmp_path: Path) -> None:
    (tmp_path / "app.conf").write_bytes(b"0 caf\xe9 %t\n")
    command = [FLUX, "multi-prog", "-n", "0", str(tmp_path / "app.conf")]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"}, capture_output=True, timeout=50
    )
    assert (done.stdout, done.stderr) == (b"0: 'caf\xe9' 0\n", b"")


def test_what_a_locale_cannot_show_is_marked() -> None:
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    result = run_flux("admin", "system-scripts", FLUX_LOCAL_CONNECTOR_RETRY_COUNT="0", FLUX_URI="local:///no", **locale)
    assert (result.stdout.splitlines()[0], result.stderr) == ("? prolog: not configured", "")


def test_input_that_is_no_text_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "inputs").write_bytes(b"\xff\n")
    result = run_flux("bulksubmit", "--dry-run", "echo", "::::", str(tmp_path / "inputs"), PYTHONUTF8="1")
    assert (result.returncode, "is not text in utf-8" in result.stderr) == (1, True), result.stderr


@pytest.mark.parametrize(
    ("name", "words", "path"),
    [
        ("R", ["encode", "--xml=/nonexistent/host.xml"], "/nonexistent/host.xml"),
        ("keygen", ["--sign", "/proc/nonexistent/key"], "/proc/nonexistent"),
    ],
)
def test_a_file_that_is_not_there_is_named(name: str, words: list[str], path: str) -> None:
    assert run_flux(name, *words).stderr == f"flux-{name}: {path}: No such file or directory\n"


def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    result = run_flux("keygen", str(path))
    assert (result.returncode, "something that is no file" in result.stderr) == (1, True), result.stderr
    with pytest.raises(FileExistsError, match="something that is no file"):
        write_text(path, "extends = 'default'\n")
    assert path.is_fifo()
    assert os.listdir(tmp_path) == ["fifo"]
