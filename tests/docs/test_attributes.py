"""flux-broker-attributes(7) has every attribute, and says rightly who may set it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from flux.testing import Instance
from flux_plugins.attr import KNOWN, PATTERNS, SETTABLE, is_known

PAGE = Path(__file__).parents[2] / "docs" / "man" / "flux-broker-attributes.7.md"


def documented() -> dict[str, str]:
    """Attribute to the letters behind it."""
    found: dict[str, str] = {}
    for names, letters in re.findall(r"(?m)^([a-z][\w.*, -]+) \(([SR, -]+)\)\n: ", PAGE.read_text(encoding="utf-8")):
        found |= dict.fromkeys(names.split(", "), letters)
    return found


def test_page_has_every_known_attribute_and_no_other() -> None:
    assert sorted(name for name in {*KNOWN, *PATTERNS} if name not in PAGE.read_text(encoding="utf-8")) == []
    assert sorted(KNOWN - {*PATTERNS} - documented().keys()) == []
    assert [name for name in documented() if not is_known(name)] == []


def test_page_says_which_can_be_set_at_run_time() -> None:
    said = {name for name, letters in documented().items() if "R" in letters}
    assert said == {name for name in SETTABLE if name in documented()}


def test_page_has_what_a_running_instance_shows(instance: Callable[..., Instance]) -> None:
    for rank in range(2):
        names = instance(2).handle(rank).rpc("attr.list").get()["names"]
        assert [name for name in names if name not in documented()] == []
