"""The guides and the README do what they say: their files are written down, their commands run, the output compared.

A fenced block whose first line is a comment with a file name is that file. A `console` block is a session: lines after
`$ ` are run in the folder of the files, in an instance; what follows is expected, `...` standing for anything. All
blocks of a guide are taken in their order.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from flux.testing import Instance

ROOT = Path(__file__).parents[2]
GUIDES = sorted(path for path in (ROOT / "docs" / "guides").glob("*.md") if path.name != "hooks.md")
_BLOCK = re.compile(r"(?ms)^```(\w*)\n(.*?)^```$")
_FILE = re.compile(r"(?:#|--) ([\w./-]+\.\w+)\n")
_ERROR = re.compile(r"flux-[\w-]+: ")


class Block(NamedTuple):
    """A fenced block. line: of its first line."""

    kind: str
    text: str
    line: int

    @property
    def file(self) -> str:
        match = _FILE.match(self.text)
        return match[1] if match else ""

    def steps(self) -> list[tuple[str, str]]:
        """(command, expected output) of a session."""
        parts = re.split(r"(?m)^\$ (.*)\n", self.text)
        assert parts[0] == "", "a session begins with a command"
        return list(zip(parts[1::2], parts[2::2], strict=True))


def blocks(path: Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    return [Block(m[1], m[2], text.count("\n", 0, m.start()) + 2) for m in _BLOCK.finditer(text)]


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def install(folder: Path, site: Path) -> None:
    """What `pip install .` leaves behind, without a network to get its build tools from."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    groups = [(group, names) for group, names in project["entry-points"].items()]
    points = "".join(f"[{g}]\n" + "".join(f"{k} = {v}\n" for k, v in names.items()) for g, names in groups)
    write(info, "METADATA", f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    write(info, "entry_points.txt", points)
    for source in folder.glob("*/*.py"):
        write(site, str(source.relative_to(folder)), source.read_text(encoding="utf-8"))


def environment(folder: Path) -> dict[str, str]:
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    site = str(folder / "site-packages")
    return {"PATH": path, "PYTHONPATH": site, "XDG_CACHE_HOME": str(folder / "cache"), "LC_ALL": "C.UTF-8"}


def run_session(instance: Instance, folder: Path, block: Block) -> None:
    """Run a session's commands in one shell, and compare what each prints and whether it fails."""
    steps = block.steps()
    if steps == [("pip install .", "")]:
        install(folder, folder / "site-packages")
        return
    script = "".join(f"{command}\nprintf '\\001%d\\n' $?\n" for command, _expected in steps)
    result = instance.run(
        "sh",
        "-c",
        script,
        cwd=folder,
        env=environment(folder),
        capture_output=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    printed = re.split("\001(\\d+)\n", result.stdout)
    for (command, expected), output, code in zip(steps, printed[0::2], printed[1::2], strict=False):
        matches = doctest.OutputChecker().check_output(expected, output, doctest.ELLIPSIS)
        assert matches, f"line {block.line}: $ {command}\n{output}\n-- expected:\n{expected}"
        last = (expected.splitlines() or [""])[-1]
        assert (code != "0") == bool(_ERROR.match(last)), f"line {block.line}: $ {command}: exit status {code}"


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_guide(path: Path, tmp_path: Path) -> None:
    with Instance(2, env=environment(tmp_path)) as instance:
        for block in blocks(path):
            if block.kind == "console":
                run_session(instance, tmp_path, block)
            elif block.file:
                write(tmp_path, block.file, block.text)


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_guide_uses_every_file_that_it_shows(path: Path) -> None:
    found = blocks(path)
    for block in found:
        if block.file and block.file != "pyproject.toml":
            users = [other for other in found if other is not block and Path(block.file).stem in other.text]
            assert users, f"line {block.line}: {block.file}"


# -- the README, whose files are indented blocks


def readme_file(name: str, marker: str = "#") -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"(?m)^    {marker} {re.escape(name)}\n(?:(?:    .*)?\n)+", text)
    assert found, name
    return textwrap.dedent(found[0])


@pytest.fixture(scope="module")
def readme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of the README."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("greeter.py", "limit.py", "hello.py"):
        write(folder, name, readme_file(name))
    write(folder, "hello.lua", readme_file("hello.lua", "--"))
    return folder


@pytest.fixture(scope="module")
def site(readme: Path) -> Instance:
    with Instance(1) as instance:
        yield instance


def shell(site: Instance, readme: Path, command: str) -> tuple[int, str]:
    result = site.run("sh", "-c", command, cwd=readme, env=environment(readme))
    return result.returncode, result.stdout + result.stderr


def test_readme_service(site: Instance, readme: Path) -> None:
    for option in ("", "--exec "):
        assert shell(site, readme, f"flux module load {option}./greeter.py") == (0, "")
        answer = shell(site, readme, """flux rpc greeter.hello '{"who":"world"}'""")
        assert answer == (0, '{"text":"hello, world"}\n')
        assert shell(site, readme, "flux module remove greeter") == (0, "")


def test_readme_policy(site: Instance, readme: Path) -> None:
    assert shell(site, readme, "flux jobtap load ./limit.py") == (0, "")
    assert shell(site, readme, "flux run true") == (1, "flux-run: a time limit is required here\n")
    assert shell(site, readme, "flux run -t 1m true") == (0, "")
    assert shell(site, readme, "flux jobtap remove limit.py") == (0, "")


def test_readme_shell_plugins(site: Instance, readme: Path) -> None:
    assert shell(site, readme, "flux run -o initrc=$PWD/hello.lua printenv HELLO") == (0, "from Lua\n")
    write(readme, "load.lua", 'plugin.load { file = shell.rcpath .. "/hello.py" }')
    assert shell(site, readme, "flux run -o initrc=$PWD/load.lua printenv HELLO") == (0, "from task 0\n")
