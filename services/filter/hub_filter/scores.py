"""Arithmetic on scores: one scale for scores of different origin, and the best of many.

Pure, but for `standardised`, which changes the array it is given. Does not know what is scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating[Any]]


def deviations(centred: Scores) -> Scores:
    """The standard deviation of each row (or of the one row) of scores of mean zero; a little above zero at least."""
    # In one pass and without the squares as an array of their own: this is most of the time of a search.
    return np.sqrt(np.einsum("...i,...i->...", centred, centred) / np.float32(centred.shape[-1])) + np.float32(1e-6)


def standardised(rows: Scores, share: float = 1.0) -> Scores:
    """Turn each row (or the one row), in place, into `share` times the standard deviations above its mean, and return
    them; a row of equals becomes zeros."""
    # In place, since a search holds many such arrays, and going through one more costs as much as the arithmetic.
    rows -= rows.mean(axis=-1, keepdims=True)
    rows *= (np.float32(share) / deviations(rows))[..., np.newaxis]
    return rows


def best_row(rows: Scores, which: Sequence[int]) -> Scores:
    """The greatest of these rows (one at least) in each column."""
    # Row by row: taken together they would first be copied.
    best_yet = rows[which[0]].copy()
    for row in which[1:]:
        np.maximum(best_yet, rows[row], out=best_yet)
    return best_yet


def best(scores: Scores, among: NDArray[np.bool_], count: int) -> list[int]:
    """The places of the best `count` of the scores that are `among` them, equal ones in order."""
    places = np.flatnonzero(among)
    if len(places) > count:
        # Only what can be among the best is put in order.
        least = np.partition(scores[places], -count)[-count]
        places = places[scores[places] >= least]
    return places[np.argsort(-scores[places], kind="stable")][:count].tolist()


def best_of_group(scores: Scores, group_of: NDArray[np.intp], count: int) -> Scores:
    """Per group the sum of its best `count` scores over `count`; one with fewer has less to give."""
    # Groups further apart than any two scores: to sort by one number takes a quarter of the time that two take.
    order = np.argsort(group_of * (float(np.ptp(scores)) + 1) - scores)
    sizes = np.bincount(group_of)
    places = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    among = order[places < count]
    return (np.bincount(group_of[among], weights=scores[among]) / count).astype(np.float32)


def falling(scores: Scores) -> Scores:
    """The scores so that none is below a later one: each is the greatest from its place on."""
    return np.maximum.accumulate(scores[::-1])[::-1]
