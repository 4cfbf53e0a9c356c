"""The hook reference says what the hook specifications say."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

import hooks

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "hooks.md"
TAKEN_FROM_PLUGINS = [(module, name) for module in hooks.HOSTS.values() for name in hooks.specs(module)]


def test_reference_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == hooks.page(), "run: python docs/tools/hooks.py > docs/guides/hooks.md"


def test_every_hook_and_contract_says_when_it_is_called_or_what_it_is() -> None:
    assert hooks.undocumented() == []


@pytest.mark.parametrize(("module", "name"), TAKEN_FROM_PLUGINS, ids=lambda value: getattr(value, "__name__", value))
def test_hook_has_an_entry_with_its_signature_and_its_errors(module: ModuleType, name: str) -> None:
    text = PAGE.read_text(encoding="utf-8")
    entry = text.partition(f"\n### {name}\n")[2].partition("\n### ")[0]
    arguments = hooks.specs(module)[name].arguments
    assert f"\n    {name}(" in entry
    assert [argument for argument in arguments if f"{argument}: " not in entry] == []
    assert "\n*Error:* " in entry
