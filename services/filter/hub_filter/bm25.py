"""Okapi BM25 over weighted terms: how strongly a document answers a set of terms.

Owns the postings of a fixed list of documents. Pure. Does not know where terms come from or what a document stands for.

Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), §3.3; fields are folded
into one frequency before saturation as in its BM25F (§3.6).
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence

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
        lengths = [sum(document.values()) for document in documents]
        mean = sum(lengths) / len(lengths) if lengths else 0.0
        positions: dict[str, array[int]] = {}
        gains: dict[str, array[float]] = {}
        for position, document in enumerate(documents):
            damping = k1 * (1 - b + b * lengths[position] / mean) if mean else k1
            for term, frequency in document.items():
                if term not in positions:
                    positions[term] = array("I")
                    gains[term] = array("d")
                positions[term].append(position)
                gains[term].append(frequency * (k1 + 1) / (frequency + damping))
        for column in gains.values():
            rarity = math.log(1 + (len(documents) - len(column) + 0.5) / (len(column) + 0.5))
            for at, gain in enumerate(column):
                column[at] = gain * rarity
        self._columns = {term: (positions[term], gains[term]) for term in positions}

    def score(self, query: Weights) -> dict[int, float]:
        """Return the score of every document that has a term of `query`; always above 0."""
        scores: dict[int, float] = {}
        for term, weight in query.items():
            column = self._columns.get(term)
            if column is None:
                continue
            for position, gain in zip(*column, strict=True):
                scores[position] = scores.get(position, 0.0) + gain * weight
        return scores
