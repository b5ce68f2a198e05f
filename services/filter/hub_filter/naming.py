"""How much of an entry's name a text says, in whatever words.

Owns the words of the entries' names and what each weighs. Pure. Does not know terms or prompts. A name is the shortest
account of what an entry does: where a text says all of it, "weather forecast" or "how warm it gets tomorrow", the entry
fits, however long the text is and whatever else it says. Unlike a term, a word may be said by another that means alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hub_filter.scores import Scores
from hub_filter.vectors import Embed, Matrix, unit

_DIMENSIONS = 64
"""What is compared of a word's vector: the weights are trained so that the first numbers hold the most (Kusupati et
al., "Matryoshka Representation Learning", 2022), and for single words more of them add time only."""

_WORDS_KEPT = 16_384
"""Words whose vectors are remembered: 4 MB of them."""

_SHORT = 2.0
"""Added to what a name weighs altogether, so that names of one common word are not said too easily."""


class Names:
    """The names of a fixed list of entries. One thread at a time may ask."""

    def __init__(self, names: Sequence[Sequence[str]], embed: Embed) -> None:
        """Index the words of each name, each once; the names' positions name them in every answer."""
        places: dict[str, int] = {}
        spelled = [[places.setdefault(word, len(places)) for word in name] for name in names]
        holders = np.bincount([at for name in spelled for at in name], minlength=len(places))
        rarity = np.log(1 + (len(names) - holders + 0.5) / (holders + 0.5))
        whole = np.array([rarity[name].sum() for name in spelled]) + _SHORT
        lengths = np.array([len(name) for name in spelled], dtype=np.intp)
        # The longest first, so that those with a first, a second, a third word are the first so many.
        order = np.argsort(-lengths, kind="stable")
        self._places = np.argsort(order)
        columns = [
            np.array([spelled[at][depth] for at in order[: (lengths > depth).sum()]], dtype=np.intp)
            for depth in range(lengths.max(initial=0))
        ]
        self._columns = [
            (column, (rarity[column] / whole[order[: len(column)]]).astype(np.float32)[:, np.newaxis])
            for column in columns
        ]
        self._embed = embed
        self._known: dict[str, Matrix] = {}
        self._vectors = self._embedded(list(places))

    def said(self, texts: Sequence[Sequence[str]]) -> Scores:
        """Return a row per text, given as its words, and a column per name: 0 where nothing of it is said, below 1."""
        places: dict[str, int] = {}
        rows = [[places.setdefault(word, len(places)) for word in text] for text in texts]
        if not places:
            return np.zeros((len(texts), len(self._places)), dtype=np.float32)
        likeness = self._likeness(self._remembered(list(places)))
        of_words = np.zeros((len(texts), len(self._vectors)), dtype=np.float32)
        for row, words in zip(of_words, rows, strict=True):
            if words:
                likeness[words].max(axis=0, out=row)
        by_word = np.ascontiguousarray(of_words.T)
        said = np.zeros((len(self._places), len(texts)), dtype=np.float32)
        for words, shares in self._columns:
            said[: len(words)] += by_word[words] * shares
        return said.T.take(self._places, axis=1)

    def _remembered(self, words: Sequence[str]) -> Matrix:
        """The vectors of the words of prompts, which are much the same from prompt to prompt."""
        new = [word for word in words if word not in self._known]
        if len(self._known) + len(new) > _WORDS_KEPT:
            self._known, new = {}, list(words)
        if new:
            self._known.update(zip(new, self._embedded(new), strict=True))
        return np.stack([self._known[word] for word in words])

    def _embedded(self, words: Sequence[str]) -> Matrix:
        return unit(self._embed(words)[:, :_DIMENSIONS].astype(np.float32))

    def _likeness(self, vectors: Matrix) -> Matrix:
        """How like each word with one of these vectors is to each word of a name: the cube of the cosine, since words
        of one field are all a little alike, and that says nothing."""
        cosines = vectors @ self._vectors.T
        np.maximum(cosines, 0, out=cosines)
        return cosines * cosines * cosines
