"""`flux help`, and manual pages as a terminal shows them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux_cli import lookup, manpage

FLUX = os.path.join(os.path.dirname(sys.executable), "flux")
PAGES = Path(__file__).parents[2] / "docs" / "man"
OWN = ["dmesg", "env", "event", "getattr", "help", "logger", "lsattr", "module", "ping", "rpc", "setattr", "version"]
SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "EXAMPLES"]


def run_help(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([FLUX, "help", *args], capture_output=True, text=True, timeout=50)


def test_list_has_every_command_with_what_it_is_for() -> None:
    lines = run_help().stdout.splitlines()
    assert set(lookup.installed()) <= {line.split()[0] for line in lines if line.startswith("  ")}
    assert ["ping", "measure the round-trip time to a service"] in [line.strip().split(maxsplit=1) for line in lines]


def test_flux_option_help_is_flux_help() -> None:
    result = subprocess.run([FLUX, "-h"], capture_output=True, text=True, timeout=50)
    assert result.stdout == run_help().stdout


@pytest.mark.parametrize("name", OWN)
def test_page_is_complete_and_names_every_option(name: str) -> None:
    page = run_help(name).stdout
    assert [s for s in SECTIONS if f"\n{s}\n" not in page] == []
    usages = [[name]] if name not in ("module", "event") else [[name, action] for action in actions(name)]
    for words in usages:
        text = subprocess.run([FLUX, *words, "--help"], capture_output=True, text=True, timeout=50).stdout
        options = set(re.findall(r"--[a-z][a-z-]+", text)) - {"--help"}
        assert [option for option in options if option not in page] == []


def actions(name: str) -> list[str]:
    module = __import__(f"flux_cli.cmd.{name}", fromlist=["ACTIONS"])
    return list(module.ACTIONS)


def test_unknown_page_gets_a_suggestion() -> None:
    result = run_help("modul")
    assert result.returncode == 1
    assert result.stderr == "flux-help: 'modul' is not a flux command. Did you mean 'module'?\n"


@pytest.mark.parametrize("path", sorted(PAGES.glob("*.md")), ids=lambda path: path.name)
@pytest.mark.parametrize("width", [40, 80, 132])
def test_text_fits_the_width(path: Path, width: int) -> None:
    markdown = re.sub(r"(?m)^(    .*|\|.*)$", "", re.sub(r"(?ms)^```.*?^```", "", path.read_text(encoding="utf-8")))
    longest = max((len(word) for word in manpage.plain(markdown).split()), default=0)
    lines = manpage.render(markdown, width).splitlines()
    assert [line for line in lines if len(line) > max(width, longest + 14)] == []


def test_layout() -> None:
    markdown = (
        "# flux-x(1)\n\n## NAME\n\nflux-x - do *x*\n\n## OPTIONS\n\n-a, --all\n: Take **all**\n  of `them`.\n\n"
        "Then:\n\n    code   stays\n\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | long |\n"
    )
    assert manpage.render(markdown, 40).splitlines() == [
        "flux-x(1)",
        "",
        "NAME",
        "       flux-x - do x",
        "",
        "OPTIONS",
        "       -a, --all",
        "              Take all of them.",
        "",
        "       Then:",
        "",
        "           code   stays",
        "",
        "       • one",
        "       • two",
        "",
        "       a  b",
        "       1  long",
    ]


def test_color_marks_what_is_emphasised_and_ends_every_line_plain() -> None:
    lines = manpage.render(
        "## NAME\n\n**a long emphasis that goes over the end of a line** plain\n", 40, True
    ).splitlines()
    assert lines[0] == "\033[1mNAME\033[0m"
    assert all(line.count("\033[1m") == line.count("\033[0m") for line in lines)
    assert re.sub(r"\033\[\dm|\s+", " ", " ".join(lines)).split()[-1] == "plain"


@given(st.text(alphabet="#-*`|:1. \n\tab\\[]()~_", max_size=200), st.integers(0, 100))
def test_any_markdown_is_rendered(markdown: str, width: int) -> None:
    assert manpage.render(markdown, width).endswith("\n")
    assert manpage.render(markdown, width, True).endswith("\n")
