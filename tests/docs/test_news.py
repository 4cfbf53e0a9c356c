"""News fragments are named and written as docs/news/README.md says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

NEWS = Path(__file__).parents[2] / "docs" / "news"
KINDS = re.findall(r"(?m)^\| `(\w+)` \|", (NEWS / "README.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", sorted(NEWS.glob("[!R]*")), ids=lambda path: path.name)
def test_fragment(path: Path) -> None:
    assert re.fullmatch(rf"\d+\.({'|'.join(KINDS)})(\.\d+)?\.md", path.name)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines and all(0 < len(line) <= 120 and not line.startswith("#") for line in lines)
