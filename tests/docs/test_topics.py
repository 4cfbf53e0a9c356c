"""docs/topics.md lists every request that a builtin module answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import topics

PAGE = Path(__file__).parents[2] / "docs" / "topics.md"


def test_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == topics.page(), "run: python docs/tools/topics.py > docs/topics.md"


@pytest.mark.parametrize("cls", topics.modules().values(), ids=lambda cls: cls.name)
def test_every_marked_method_has_a_line(cls: Any) -> None:
    marked = [handler for name in dir(cls) for handler in getattr(getattr(cls, name), "__flux_requests__", ())]
    expected = {f"| {handler.service or cls.name}.{handler.topic} |" for handler in marked}
    text = PAGE.read_text(encoding="utf-8")
    assert [line for line in expected if line not in text] == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (list[str], "array of string"),
        (int | None, "integer or null"),
        (dict[str, int], "object"),
        (list[list[int]], "array of array of integer"),
        (Any, "any"),
    ],
)
def test_types_read_as_json(kind: Any, text: str) -> None:
    assert topics.words(kind) == text
