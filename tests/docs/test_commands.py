"""Every command has a manual page, and the page knows all of its options."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from flux.discovery import index, load
from flux_cli import manpage
from flux_cli.main import guarded

INSTALLED = index()
COMMANDS = [name for name in INSTALLED.names("commands") if INSTALLED.entries["commands"][name].is_builtin]
PAGES = sorted((Path(__file__).parents[2] / "docs" / "man").glob("*.md"))
PASSING_ON = {"env", "python"}  # their options are those of programs that are not ours
ASKING = {"job-frobnicator", "job-validator"}  # ask an instance which options there are
_ACTIONS = re.compile(r"COMMAND is one of:\n((?:  +\S.*\n)+)")
_OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z0-9-]*[a-z0-9])")
_WRONG = re.compile(r"\b2\s(?:for|when)\s(?:a|the)\s(?:wrong\sdirective\sor\sa\s)?command\sline")
_SHORT = re.compile(r"(?m)^  (-[A-Za-z])\b")


def help_of(name: str, words: tuple[str, ...] = ()) -> str:
    """What `flux NAME WORDS... --help` prints."""
    command, _origin = load("commands", name, installed=INSTALLED)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            code = command([*words, "--help"])
        except SystemExit as exc:
            code = exc.code
    assert code in (0, None)
    return out.getvalue()


def usages(name: str, words: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], str]]:
    """The help of a command and, where it has such, of its sub-commands and theirs."""
    text = help_of(name, words)
    found = [(words, text)]
    actions = _ACTIONS.search(text)
    for line in actions[1].splitlines() if actions else ():
        if re.match(r"  \S", line):
            found += usages(name, (*words, line.split()[0].rstrip(",")))
    return found


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "500")


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_a_page_of_its_name(name: str) -> None:
    path = manpage.find(name)
    assert path is not None
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    assert lines[0] == f"# flux-{name}(1)"
    assert lines[lines.index("## NAME") + 2].startswith(f"flux-{name} - ")


def text_of(name: str) -> str:
    """A command's page, and the pages whose options it says to take ("Those of flux-run(1)")."""
    path = manpage.find(name)
    assert path is not None
    page = Path(path).read_text(encoding="utf-8")
    return page + "".join(text_of(other) for other in re.findall(r"(?m)^Those of flux-(\w+)\(1\)", page))


@pytest.mark.parametrize("name", COMMANDS)
def test_page_has_every_sub_command_and_option(name: str) -> None:
    page = text_of(name)
    missing = []
    for words, text in usages(name):
        wanted = {*_OPTION.findall(text), *_SHORT.findall(text), *words} - {"--help", "-h"}
        missing += [(*words, word) for word in sorted(wanted) if not re.search(rf"(?<![\w-]){word}(?![\w-])", page)]
    assert missing == []


def exit_status(name: str) -> str:
    """What a command's page says of exit codes, with what the pages say that it refers to."""
    path = manpage.find(name)
    assert path is not None
    told = Path(path).read_text(encoding="utf-8").partition("\n## EXIT STATUS\n")[2].partition("\n## ")[0]
    return told + "".join(exit_status(other) for other in re.findall(r"flux-(\w+)\(1\)", told))


@pytest.mark.parametrize("name", sorted({*COMMANDS} - PASSING_ON - ASKING))
def test_page_tells_the_exit_code_for_a_wrong_command_line(
    name: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FLUX_URI", raising=False)
    command, _origin = load("commands", name, installed=INSTALLED)
    code = guarded(name, lambda: command(["--no-such-option"]))
    assert code in (1, 2), capfd.readouterr().err
    told = exit_status(name)
    assert (code == 2) == bool(_WRONG.search(told)), f"exit code {code}:\n{told}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_page_has_its_name_and_the_sections_of_its_kind(path: Path) -> None:
    name, section, _ = path.name.rsplit(".", 2)
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# {name}({section})\n\n## NAME\n\n{name} - ")
    wanted = ["SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "EXAMPLES"] if section == "1" else ["DESCRIPTION"]
    assert [title for title in wanted if f"\n## {title}\n" not in text] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_page_refers_to_pages_that_exist(path: Path) -> None:
    own = {page.name.removesuffix(".md") for page in PAGES}
    text = path.read_text(encoding="utf-8")
    see_also = text.partition("\n## SEE ALSO\n")[2]
    referred = {f"{name}.{section}" for name, section in re.findall(r"\b(flux[\w-]*)\((1|5|7)\)", see_also)}
    assert sorted(referred - own) == []
