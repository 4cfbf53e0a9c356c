"""Code that every fork runs, side by side in memory.

A call changes the reference count of the function's code object, and specialised bytecode counts in it as well, so
each fork copies the pages that hold the code it runs. Imported code lies where its module was loaded, some that is
run among much that is not; copies made one after the other fill far fewer pages.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType, FunctionType
from typing import Any

__all__ = ["gather", "observe"]

_replaced: list[CodeType] = []
"""Kept: where they lay, a fork would put new objects, and copy the page for each."""


@contextmanager
def observe() -> Iterator[set[CodeType]]:
    """Give the set that the code is put into which this thread runs within the block."""
    seen: set[CodeType] = set()

    def call(frame: FrameType, _event: str, _arg: Any) -> None:
        seen.add(frame.f_code)

    former = sys.getprofile()
    sys.setprofile(call)
    try:
        yield seen
    finally:
        sys.setprofile(former)


def gather(hot: set[CodeType]) -> None:
    """Have all functions of this process that run such code run a copy of it; the copies are specialised anew."""
    gc.unfreeze()  # else they are not found
    copies: dict[CodeType, CodeType] = {}
    for function in gc.get_objects():
        if type(function) is not FunctionType or function.__code__ not in hot:
            continue
        code = function.__code__
        if code not in copies:
            copies[code] = _copy(code, hot)
        function.__code__ = copies[code]
    _replaced.extend(copies)


def _copy(code: CodeType, hot: set[CodeType]) -> CodeType:
    """A copy, with copies of the comprehensions and lambdas in it that are run."""
    inner = (_copy(each, hot) if isinstance(each, CodeType) and each in hot else each for each in code.co_consts)
    return code.replace(co_consts=tuple(inner))
