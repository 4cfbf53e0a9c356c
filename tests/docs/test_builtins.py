"""The default composition and the sources: nothing that exists is left out, nothing is without a word on what it is."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

from flux.discovery import index

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for folder in ("api/flux", "kernel/flux_kernel", "plugins/flux_plugins", "shell/flux_shell", "cli/flux_cli")
    for path in (ROOT / folder).rglob("*.py")
    if path.stat().st_size
)
NOT_COMPOSED: dict[str, str] = {}
"""Builtin plugins that the default composition leaves out, and why."""


@pytest.mark.parametrize("kind", ["modules", "transports", "bootstrap"])
def test_default_composition_has_every_builtin_plugin(kind: str) -> None:
    composed = tomllib.loads((ROOT / "plugins.toml").read_text(encoding="utf-8"))
    installed = index()
    builtin = {name for name in installed.names(kind) if installed.entries[kind][name].is_builtin}
    assert builtin - composed[kind].keys() == {name for name in NOT_COMPOSED if name in builtin}


def test_default_composition_is_the_one_that_is_installed() -> None:
    installed = ROOT / "kernel" / "flux_kernel" / "plugins.toml"
    assert installed.read_bytes() == (ROOT / "plugins.toml").read_bytes()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_source_says_what_it_is_for(path: Path) -> None:
    assert len((ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split()) >= 3
