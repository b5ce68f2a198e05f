"""A name is found by whoever says it, in its own words or in others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from hub_filter import embedding
from hub_filter.naming import Names
from hub_filter.vectors import Embed

NAMES = [("weather", "forecast"), ("delete", "file"), (), ("file",), ("purchase", "item", "shop")]


@pytest.fixture(scope="module")
def embed() -> Embed:
    return embedding.load().embed


@pytest.fixture(scope="module")
def names(embed: Embed) -> Names:
    return Names(NAMES, embed)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (["forecast", "weather"], 0),
        (["temperature", "tomorrow", "rain"], 0),
        (["remove", "document"], 1),
        (["buy", "product"], 4),
    ],
)
def test_the_name_that_is_said_has_most(names: Names, text: Sequence[str], first: int) -> None:
    assert names.said([text])[0].argmax() == first


def test_more_of_a_name_is_more_and_other_words_take_nothing(names: Names) -> None:
    part, whole, drowned = names.said([["delete"], ["delete", "file"], ["delete", "file", "forever", "zebra"]])
    assert part[1] < whole[1]
    assert drowned[1] >= whole[1]
    assert whole[1] > whole[3]


def test_what_says_nothing_has_nothing(names: Names) -> None:
    said = names.said([[], ["file"]])
    assert said.shape == (2, len(NAMES))
    assert not said[0].any()
    assert said[:, 2].tolist() == [0, 0]
    assert ((said >= 0) & (said < 1)).all()
    assert names.said([[]]).shape == (1, len(NAMES))
    assert names.said([]).shape == (0, len(NAMES))


def test_what_was_asked_before_changes_no_answer(names: Names, embed: Embed) -> None:
    texts = [["remove", "file"], ["cheap", "shop"]]
    names.said([[f"word{number}"] for number in range(20_000)])
    assert np.allclose(names.said(texts), Names(NAMES, embed).said(texts), atol=1e-5)
