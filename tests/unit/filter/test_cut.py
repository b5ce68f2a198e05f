"""The list ends where fit does, and not before every wish has a hit."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_filter.cut import worth_showing

FITS = [5.0, 4.9, 4.8, 4.7, 4.6, 4.5]


@pytest.mark.parametrize(
    ("standings", "leads", "budget", "cut"),
    [
        ([*FITS, 1.0, 0.9], [], 0, 6),
        ([*FITS, 4.0, 3.0], [], 0, 8),
        ([*FITS, 4.0, 3.0], [], 7, 7),
        ([*FITS, 1.0, 0.9], [0, 6], 0, 7),
        ([*FITS, 1.0, 0.9], [0, 7], 7, 6),
        ([9.0, 1.0, 0.9, 0.8, 0.7, 0.6], [], 0, 5),
        ([9.0, 1.0, 0.9, 0.8, 0.7, 0.6], [], 2, 2),
        ([-0.1, -0.2], [], 0, 2),
        ([5.0], [], 9, 1),
        ([], [], 5, 0),
    ],
)
def test_the_cut_stands_where_the_standing_has_fallen(
    standings: Sequence[float], leads: Sequence[int], budget: int, cut: int
) -> None:
    assert worth_showing(standings, leads, budget) == cut


@given(
    st.lists(st.floats(-5, 50), max_size=30).map(lambda values: sorted(values, reverse=True)),
    st.lists(st.integers(0, 29), max_size=5),
    st.integers(0, 40),
)
def test_the_cut_is_within_the_hits_and_the_budget(standings: list[float], leads: list[int], budget: int) -> None:
    cut = worth_showing(standings, leads, budget)
    assert cut <= (min(budget, len(standings)) if budget else len(standings))
    assert cut >= min(5, len(standings), budget or 5)
