"""Okapi BM25 over weighted terms: how strongly a document answers a set of terms.

Owns the postings of a fixed list of documents. Pure. Does not know where terms come from or what a document stands for.

Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), §3.3; fields are folded
into one frequency before saturation as in its BM25F (§3.6).
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Weights = Mapping[str, float]
"""A weight per term: in a document its frequency times the weight of the field it stands in."""


class Postings:
    """Immutable. What a term adds to a document is computed here once, so that a search only adds."""

    def __init__(self, documents: Sequence[Weights], *, k1: float, b: float) -> None:
        """Index `documents`; their positions name them in every answer.

        Args:
            documents: term weights per document.
            k1: how late repetition saturates.
            b: how much long documents are held back, 0 to 1.
        """
        self._documents = len(documents)
        columns: dict[str, int] = {}
        terms, positions, frequencies = array("q"), array("q"), array("d")
        for position, document in enumerate(documents):
            for term, frequency in document.items():
                terms.append(columns.setdefault(term, len(columns)))
                positions.append(position)
                frequencies.append(frequency)
        by_term = np.argsort(np.array(terms, dtype=np.int64), kind="stable")
        column = np.array(terms, dtype=np.int64)[by_term]
        self._positions = np.array(positions, dtype=np.intp)[by_term]
        frequency = np.array(frequencies, dtype=np.float64)[by_term]
        lengths = np.bincount(self._positions, weights=frequency, minlength=len(documents))
        mean = float(lengths.mean()) if documents else 0.0
        damping = k1 * (1 - b + b * lengths / mean) if mean else np.full(len(documents), k1)
        starts = np.searchsorted(column, np.arange(len(columns) + 1))
        holders = np.diff(starts)
        rarity = np.log(1 + (len(documents) - holders + 0.5) / (holders + 0.5))
        gains = frequency * (k1 + 1) / (frequency + damping[self._positions]) * rarity[column]
        self._gains = gains.astype(np.float32)
        self._columns = columns
        self._starts, self._lengths = starts[:-1], holders

    def __contains__(self, term: str) -> bool:
        """Whether any document holds the term."""
        return term in self._columns

    def scores(self, queries: Sequence[Weights]) -> NDArray[np.float32]:
        """Return a row per query and a column per document: 0 where they share no term, else above 0."""
        scores = np.zeros((len(queries), self._documents), dtype=np.float32)
        found = [
            (row, column, weight)
            for row, query in enumerate(queries)
            for term, weight in query.items()
            if (column := self._columns.get(term)) is not None
        ]
        if found:
            # All gains in one addition: a prompt has hundreds of terms, and most of them few documents.
            rows, columns, weights = (np.array(values) for values in zip(*found, strict=True))
            lengths = self._lengths[columns]
            ends = np.cumsum(lengths)
            places = np.arange(int(ends[-1])) + np.repeat(self._starts[columns] - ends + lengths, lengths)
            gains = self._gains[places] * np.repeat(weights.astype(np.float32), lengths)
            np.add.at(scores.reshape(-1), self._positions[places] + np.repeat(rows * self._documents, lengths), gains)
        return scores
