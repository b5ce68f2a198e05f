"""What says that a piece of a prompt fits an entry: shared terms, shared meaning, and what the entry's upstream offers.

Owns the index of every signal and what each counts. Pure. Does not know how the pieces of a prompt are joined.

Scores of different origin are joined in standard deviations above the mean of the entries, which needs no scale of
their own. The constants are round on purpose: around them the figures of bench/eval_ranking.py are flat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hub_filter import words
from hub_filter.bm25 import Postings, Weights
from hub_filter.document import Analysed
from hub_filter.naming import Names
from hub_filter.scores import Scores, standardised
from hub_filter.vectors import Matrix, Vectors, unit

_ENTRY_K1, _ENTRY_B = 1.4, 0.75
_UPSTREAM_K1, _UPSTREAM_B = 2.5, 0.8
_TERMS, _MEANING, _NAME = 0.6, 1.3, 0.5
_UPSTREAM_TERMS, _UPSTREAM_MEANING = 0.3, 0.5

_MEANS_IT = 0.15
"""Cosine from which an entry may be hit without a term of the prompt."""

_SURELY_MEANS_IT = 0.35
"""The same for a prompt of which no entry has a term: such prompts are foreign, or gibberish that resembles a name."""

Chosen = NDArray[np.intp] | slice
"""Which entries are scored."""


class Fit(NamedTuple):
    """How well every piece fits every chosen entry, a row per piece."""

    terms: Scores
    meaning: Scores | None
    upstream: Scores
    fits: NDArray[np.bool_]
    """Which entries fit any piece at all."""

    def total(self) -> Scores:
        """All signals together."""
        fit = self.terms + self.upstream
        if self.meaning is not None:
            fit += self.meaning
        return fit


class Signals:
    """Immutable. Scores a fixed list of entries for the pieces of any number of prompts."""

    def __init__(self, entries: Sequence[Analysed], vectors: Vectors | None) -> None:
        """Index `entries`; without `vectors`, meaning says nothing."""
        upstreams: dict[str, dict[str, float]] = {}
        for entry in entries:
            together = upstreams.setdefault(entry.upstream_name, {})
            for term, weight in entry.weights.items():
                together[term] = together.get(term, 0.0) + weight
        positions = {name: position for position, name in enumerate(upstreams)}
        self.upstream_of = np.array([positions[entry.upstream_name] for entry in entries], dtype=np.intp)
        """The upstream of each entry, as a number."""
        self.prominence = _prominence(entries)
        """Of each entry in its upstream's list: 1 for the first, a half for the second, a third for the third."""
        self._terms = Postings([entry.weights for entry in entries], k1=_ENTRY_K1, b=_ENTRY_B)
        self._upstream_terms = Postings(list(upstreams.values()), k1=_UPSTREAM_K1, b=_UPSTREAM_B)
        self._meaning = _Meaning(entries, vectors, self.upstream_of) if vectors is not None and entries else None

    def share_unknown(self, weights: Weights) -> float:
        """Which share of these terms no entry has."""
        return sum(term not in self._terms for term in weights) / max(len(weights), 1)

    def embed(self, texts: Sequence[str]) -> Matrix | None:
        """The meaning of each text; None where meaning says nothing."""
        return None if self._meaning is None else self._meaning.vectors.embed(texts)

    def fit(self, texts: Sequence[str], weights: Sequence[Weights], embedded: Matrix | None, chosen: Chosen) -> Fit:
        """How well every piece, given as its text, its terms and its meaning, fits every chosen entry."""
        terms = self._terms.scores(weights)[:, chosen]
        upstreams = standardised(self._upstream_terms.scores(weights), _UPSTREAM_TERMS)
        fits = terms.max(axis=0) > 0
        meaning = None
        if embedded is not None and self._meaning is not None:
            meaning = embedded @ self._meaning.vectors.entries[chosen].T
            fits |= meaning.max(axis=0) > (_MEANS_IT if fits.any() else _SURELY_MEANS_IT)
            standardised(meaning, _MEANING)
            said = self._meaning.names.said([words.plain_words(text) for text in texts])[:, chosen]
            meaning += standardised(said, _NAME)
            upstreams += standardised(embedded @ self._meaning.upstreams.T, _UPSTREAM_MEANING)
        return Fit(standardised(terms, _TERMS), meaning, upstreams.take(self.upstream_of[chosen], axis=1), fits)


def _prominence(entries: Sequence[Analysed]) -> Scores:
    before: Counter[str] = Counter()
    places: list[int] = []
    for entry in entries:
        before[entry.upstream_name] += 1
        places.append(entry.place or before[entry.upstream_name])
    return (1 / np.array(places)).astype(np.float32)


class _Meaning:
    """What the entries, their names and their upstreams mean."""

    def __init__(self, entries: Sequence[Analysed], vectors: Vectors, upstream_of: NDArray[np.intp]) -> None:
        # Number by number, not entry by entry: so a product with all of them takes two thirds of the time.
        self.vectors = vectors._replace(entries=np.asfortranarray(vectors.entries))
        self.names = Names([entry.name for entry in entries], vectors.embed)
        together = np.zeros((int(upstream_of.max()) + 1, vectors.entries.shape[1]), dtype=np.float32)
        np.add.at(together, upstream_of, vectors.entries)
        self.upstreams = unit(together)
        """The direction of each upstream's entries together."""
