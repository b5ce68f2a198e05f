"""Scores of different origin on one scale, and the best of many."""

from __future__ import annotations

import numpy as np
import pytest

from hub_filter.scores import best_of_group, best_row, standardised


def test_scores_are_standardised_in_place_row_by_row() -> None:
    rows = np.array([[1, 2, 3, 4], [5, 5, 5, 5]], dtype=np.float32)
    assert standardised(rows, 2.0) is rows
    assert rows[0].mean() == pytest.approx(0)
    assert rows[0].std() == pytest.approx(2, rel=1e-4)
    assert not rows[1].any()


def test_the_best_row_is_the_greatest_of_those_named_and_changes_none() -> None:
    rows = np.array([[9, 9, 9], [1, 5, 2], [4, 3, 2]], dtype=np.float32)
    assert best_row(rows, [1, 2]).tolist() == [4, 5, 2]
    assert best_row(rows, [1]).tolist() == [1, 5, 2]
    assert rows[1].tolist() == [1, 5, 2]


def test_a_group_has_the_sum_of_its_best_over_their_number() -> None:
    scores = np.array([1, 8, 2, 4, 6], dtype=np.float32)
    group_of = np.array([2, 0, 2, 2, 3], dtype=np.intp)
    assert best_of_group(scores, group_of, 2).tolist() == [4, 0, 3, 3]
