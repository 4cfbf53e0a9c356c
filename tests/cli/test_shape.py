"""Shapes of resources on the command line (RFC 46)."""

from __future__ import annotations

from typing import Any

import pytest

from flux_cli.errors import CommandError
from flux_cli.shape import parse_shape, slot_labels

CORE = {"type": "core", "count": 1}


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("core=2", [{"type": "core", "count": 2}]),
        ("slot=3-30/core", [{"type": "slot", "count": "3-30", "label": "task", "with": [CORE]}]),
        ("node=[1,3-5]", [{"type": "node", "count": "1,3-5"}]),
        ("core=2-16:2:*", [{"type": "core", "count": "2-16:2:*"}]),
        ("slot{a,x}/core", [{"type": "slot", "count": 1, "label": "a", "exclusive": True, "with": [CORE]}]),
        ("node{-x}/core", [{"type": "node", "count": 1, "exclusive": False, "with": [CORE]}]),
        (
            'slot/[core;gpu{kind:"a b",n:3,o:{a:b},+k}]',
            [
                {
                    "type": "slot",
                    "count": 1,
                    "label": "task",
                    "with": [CORE, {"type": "gpu", "count": 1, "kind": "a b", "n": 3, "o": {"a": "b"}, "k": True}],
                }
            ],
        ),
    ],
)
def test_shapes(shape: str, expected: list[dict[str, Any]]) -> None:
    assert parse_shape(shape) == expected


def test_labels_of_several_slots() -> None:
    assert slot_labels(parse_shape("[slot{a}/core;node/slot{b}/core]")) == ["a", "b"]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("slot", "a slot holds something"),
        ("slot=0/core", "expected a count"),
        ("slot=2/core}", "unexpected '}', at character 12"),
        ("slot/[core;gpu", "expected ']', got 'the end'"),
        ("[slot/core;slot/gpu]", "several slots need labels"),
        ("node{a", "expected ',' or '}'"),
        ("node/", "got 'the end'"),
        ("", "got 'the end'"),
    ],
)
def test_a_wrong_shape_is_refused_with_its_place(shape: str, message: str) -> None:
    with pytest.raises(CommandError) as caught:
        parse_shape(shape)
    assert message in str(caught.value)
