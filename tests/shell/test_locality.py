"""Code that is run is copied, and goes on doing what it did."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from flux_shell.locality import gather, observe


def counter(start: int) -> Callable[[], int]:
    count = start

    def step() -> int:
        nonlocal count
        count += 1
        return count

    return step


def squares(numbers: range) -> list[int]:
    return sorted((n * n for n in numbers), key=lambda n: -n)


def not_run() -> None:
    pass


def test_what_was_run_is_copied_with_what_is_in_it() -> None:
    step = counter(5)
    before = {function: function.__code__ for function in (step, squares, not_run)}
    with observe() as seen:
        assert (step(), squares(range(4))) == (6, [9, 4, 1, 0])
    assert {before[step], before[squares]} <= seen
    gather(seen)
    assert step.__code__ is not before[step] and step.__code__ == before[step]
    assert not_run.__code__ is before[not_run]
    inner = [
        [each for each in code.co_consts if hasattr(each, "co_code")] for code in (before[squares], squares.__code__)
    ]
    assert inner[0] == inner[1] and not any(old is new for old, new in zip(*inner, strict=True))
    assert (step(), squares(range(4))) == (7, [9, 4, 1, 0])
    assert counter(0)() == 1


def test_whoever_looked_on_before_does_again() -> None:
    def looks(*_args: object) -> None:
        pass

    former = sys.getprofile()
    sys.setprofile(looks)
    try:
        with pytest.raises(ZeroDivisionError), observe():
            1 // 0  # noqa: B018
        assert sys.getprofile() is looks
    finally:
        sys.setprofile(former)
