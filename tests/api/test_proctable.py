"""Process tables of jobs (MPIR) in their compressed form."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux import proctable

PROCESS = st.builds(
    proctable.Process,
    st.integers(0, 1000),
    st.text("a01-9\n", max_size=6),
    st.integers(0, 1 << 22),
    st.text("ab1", max_size=4),
    st.integers(0, 100),
)


@given(st.lists(PROCESS))
def test_what_is_encoded_can_be_decoded(processes: list[proctable.Process]) -> None:
    assert proctable.decode(proctable.encode(processes)) == sorted(processes)


def test_a_table_of_stock_flux() -> None:
    """As its job shell answers: differences, runs and repeats, and names with numeric suffixes."""
    table = {
        "hosts": [["vm", [[-1, -1], 2, 0]]],
        "executables": [["sleep", [[-1, -3]]]],
        "ids": [[0, 3]],
        "pids": [17869, 2, -1, 2],
        "ranks": [[0, -1], [1, -1]],
    }
    assert [process[:3] for process in proctable.decode(table)] == [
        (0, "vm", 17869),
        (1, "vm", 17871),
        (2, "vm1", 17870),
        (3, "vm1", 17872),
    ]
    assert proctable.decode_integers([[1, -1, 2]]) == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("entries", [["x"], [[]], [[1, 2, -1]], [[1, 1 << 40]], [True]])
def test_damaged_lists_are_refused(entries: Any) -> None:
    with pytest.raises(ValueError):
        proctable.decode_integers(entries)


def test_damaged_tables_are_refused() -> None:
    with pytest.raises(ValueError):
        proctable.decode({"ids": [0]})
    with pytest.raises(ValueError):
        proctable.decode_names([["a"]])
