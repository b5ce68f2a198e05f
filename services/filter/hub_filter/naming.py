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
        self._columns = [
            np.array([spelled[at][depth] for at in order[: (lengths > depth).sum()]], dtype=np.intp)
            for depth in range(lengths.max(initial=0))
        ]
        self._rarity = rarity.astype(np.float32)[:, np.newaxis]
        self._shares = (1 / whole).astype(np.float32)
        self._embed = embed
        self._known: dict[str, Matrix] = {}
        # Number by number, as the ranking keeps those of its entries.
        self._vectors = np.asfortranarray(self._embedded(list(places)))

    def said(self, texts: Sequence[Sequence[str]]) -> Scores:
        """Return a row per text, given as its words, and a column per name: 0 where nothing of it is said, below 1."""
        places: dict[str, int] = {}
        rows = [[places.setdefault(word, len(places)) for word in text] for text in texts]
        if not places:
            return np.zeros((len(texts), len(self._places)), dtype=np.float32)
        cosines = self._remembered(list(places)) @ self._vectors.T
        nearest = np.zeros((len(texts), len(self._vectors)), dtype=np.float32)
        for row, words in zip(nearest, rows, strict=True):
            if words:
                first, last = min(words), max(words)
                # Most often words that follow each other: these need not be copied.
                together = last - first < len(words)
                (cosines[first : last + 1] if together else cosines.take(words, axis=0)).max(axis=0, out=row)
        by_word = np.multiply(_likeness(nearest).T, self._rarity, order="C")
        said = np.zeros((len(self._places), len(texts)), dtype=np.float32)
        room = np.empty_like(said)
        for words in self._columns:
            # Into the same room each time, and unbuffered, which is what the mode is for: no place is out of range.
            said[: len(words)] += by_word.take(words, axis=0, out=room[: len(words)], mode="clip")
        said.take(self._places, axis=0, out=room, mode="clip")
        return np.multiply(room.T, self._shares, order="C")

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


def _likeness(cosines: Matrix) -> Matrix:
    """How alike words are, in place of their cosines: the cube of it, since words of one field are all a little alike,
    and that says nothing."""
    np.maximum(cosines, 0, out=cosines)
    squares = cosines * cosines
    cosines *= squares
    return cosines
