"""A prompt in pieces: the whole, its sentences and its parts, each with its terms.

Owns how a prompt that asks for several things is taken apart, and what the terms of a piece weigh. Pure. Does not know
entries or scores.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from hub_filter import glossary, words

_SENTENCES, _PARTS = 12, 20
"""How many of a prompt's sentences and of its parts are scored for themselves, from the first; the whole holds all."""

_LEAST_TERMS = 2
"""A word alone says too little of what it is about: "fast", between two commas, would lift every entry that says so."""

_HINT_WEIGHT = 0.4
_GLOSS_WEIGHT = 0.7


class Pieces(NamedTuple):
    """A prompt in pieces, the whole first, each once: a sentence is often a part as well."""

    texts: list[str]
    weights: list[dict[str, float]]
    sentences: list[int]
    """Which of them are its sentences; empty when it is of one sentence."""
    parts: list[int]
    """Which of them are its parts; empty when it is of one part."""


def taken_apart(query: str) -> Pieces:
    """Cut a prompt into its pieces; those of less than two terms are left out, the whole is not."""
    places: dict[str, int] = {query: 0}
    weights = [weigh(query)]

    def place(texts: Iterator[str], most: int) -> list[int]:
        placed: list[int] = []
        for text in map(str.strip, texts):
            if text in places:
                placed.append(places[text])
            elif len(found := weigh(text)) >= _LEAST_TERMS:
                placed.append(places.setdefault(text, len(weights)))
                weights.append(found)
            if len(placed) == most:
                break
        return placed if len(placed) > 1 else []

    sentences = place(words.sentences(query), _SENTENCES)
    parts = place(words.parts(query), _PARTS)
    texts = [f"{english}. {text}" if (english := glossary.english(text)) else text for text in places]
    return Pieces(texts, weights, sentences, parts)


def weigh(text: str) -> dict[str, float]:
    """The terms of a text and what each weighs: what it says counts more than its English, and that more than hints."""
    weights = dict.fromkeys(words.terms(text), 1.0)
    for term in words.terms(glossary.english(text)):
        weights.setdefault(term, _GLOSS_WEIGHT)
    for term in words.hints(text):
        weights.setdefault(term, _HINT_WEIGHT)
    return weights
