"""docs/promises.md names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_named_test_is_there() -> None:
    named = set(re.findall(r"`(test_\w+\.py)`", (ROOT / "docs" / "promises.md").read_text()))
    assert named
    assert named - {path.name for path in (ROOT / "tests").rglob("test_*.py")} == set()
