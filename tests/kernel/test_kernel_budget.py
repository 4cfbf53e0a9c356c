"""The kernel stays small: what could be a plugin or part of the library is no part of it."""

from __future__ import annotations

from pathlib import Path

import flux_kernel

BUDGET = 2000


def test_the_kernel_keeps_to_its_budget_of_lines() -> None:
    """Lines that are neither blank nor a comment, docstrings included."""
    files = Path(flux_kernel.__file__).parent.rglob("*.py")
    lines = [line.strip() for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    assert len([line for line in lines if line and not line.startswith("#")]) < BUDGET
