"""JSON before msgspec is imported: the same texts, objects and errors as with it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

_AGAIN = """
import sys
from flux import jsontext
for line in sys.stdin.buffer:
    print(jsontext.encode(jsontext.decode(line.rstrip(b"\\n"))).decode())
assert "msgspec" not in sys.modules
"""
_ERROR = """
import sys
from flux import jsontext
try:
    jsontext.decode(sys.stdin.buffer.read())
except jsontext.errors() as exc:
    print(type(exc).__name__, exc)
"""
_ODD = """
from enum import Enum
from flux import jsontext
from flux.job import JobID
Color = Enum("Color", ["RED"])
print(jsontext.encode({"id": JobID(5), "of": (1, True, None), "none": float("nan"), "color": Color.RED}).decode())
"""

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def _python(script: str, stdin: bytes = b"") -> str:
    """Run a script in a process that has imported nothing."""
    done = subprocess.run([sys.executable, "-c", script], input=stdin, stdout=subprocess.PIPE, check=True, timeout=60)
    return done.stdout.decode()


@settings(max_examples=5, deadline=None)
@given(st.lists(VALUES, min_size=4, max_size=8))
def test_texts_are_read_and_written_without_msgspec(values: list[Any]) -> None:
    lines = _python(_AGAIN, b"".join(msgspec.json.encode(value) + b"\n" for value in values)).split("\n")[:-1]
    assert [msgspec.json.decode(line) for line in lines] == values


@pytest.mark.parametrize(
    "text", [b"", b"{'a': 1}", b"[NaN]", b"[1,]", b'"\xff"', b'"\x01"', b'"\\ud800"', b"9" * 5000, b"[" * 99999]
)
def test_what_is_no_json_is_refused_with_the_same_words(text: bytes) -> None:
    with pytest.raises((msgspec.MsgspecError, ValueError, RecursionError)) as refusal:
        msgspec.json.decode(text)
    assert _python(_ERROR, text).strip() == f"{refusal.type.__name__} {refusal.value}"


def test_values_of_other_classes_are_what_msgspec_makes_of_them() -> None:
    assert json.loads(_python(_ODD)) == {"id": 5, "of": [1, True, None], "none": None, "color": 1}
