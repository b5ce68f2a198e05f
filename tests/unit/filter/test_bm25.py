"""The scores are BM25's, and nothing else is hit."""

from __future__ import annotations

import math

import pytest

from hub_filter.bm25 import Postings


def hits(postings: Postings, query: dict[str, float]) -> dict[int, float]:
    return {position: float(score) for position, score in enumerate(postings.scores([query])[0]) if score}


def test_the_score_is_the_formula_worked_by_hand() -> None:
    postings = Postings([{"cat": 2.0, "dog": 1.0}, {"dog": 1.0}], k1=1.2, b=0.75)
    rarity = math.log(1 + (2 - 1 + 0.5) / (1 + 0.5))
    saturated = 2.0 * 2.2 / (2.0 + 1.2 * (0.25 + 0.75 * 3 / 2))
    assert hits(postings, {"cat": 0.5}) == {0: pytest.approx(rarity * saturated * 0.5)}


def test_every_term_of_the_query_adds_and_only_documents_with_one_are_hit() -> None:
    postings = Postings([{"cat": 1.0}, {"cat": 1.0, "dog": 1.0}, {"bird": 1.0}], k1=1.2, b=0.0)
    scores = hits(postings, {"cat": 1.0, "dog": 1.0, "fish": 1.0})
    assert set(scores) == {0, 1}
    assert scores[1] == pytest.approx(hits(postings, {"cat": 1.0})[1] + hits(postings, {"dog": 1.0})[1])


def test_a_rare_term_is_worth_more_than_a_common_one() -> None:
    postings = Postings([{"common": 1.0, "rare": 1.0}, {"common": 1.0}, {"common": 1.0}], k1=1.2, b=0.0)
    assert hits(postings, {"rare": 1.0})[0] > hits(postings, {"common": 1.0})[0] > 0


@pytest.mark.parametrize("documents", [[], [{}], [{}, {}]])
def test_documents_without_terms_are_never_hit(documents: list[dict[str, float]]) -> None:
    assert hits(Postings(documents, k1=1.2, b=0.75), {"cat": 1.0}) == {}


def test_every_query_has_a_row_of_its_own() -> None:
    postings = Postings([{"cat": 1.0}, {"dog": 1.0}], k1=1.2, b=0.75)
    cat, nothing, dog = postings.scores([{"cat": 1.0}, {}, {"dog": 1.0}]).tolist()
    assert cat[0] > 0 and cat[1] == 0
    assert nothing == [0, 0]
    assert dog[0] == 0 and dog[1] > 0
