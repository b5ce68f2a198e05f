"""Which entries fit a prompt, best first.

Owns how the signals of fit are joined, how a prompt that asks for several things is matched, and where the tools that
it needs without saying so stand. Pure: no file, no clock, no network, and the same answer on every replica. Does not
know policies or gRPC, nor where vectors come from.

Two signals say how well a piece of text fits an entry: the terms they share (BM25) and, when there are vectors, what
they mean. Both are asked of the entry and of its upstream, since tools that are needed together mostly live together.
A prompt is scored as a whole, by sentence and by part; the whole finds entries that fit the theme, the parts find the
tool for the one clause that the rest of the prompt would drown. Scores of different origin are joined in standard
deviations above the mean of the entries, which needs no scale of their own.

The constants are round on purpose: around them the figures of bench/eval_ranking.py are flat.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from hub_filter import glossary, words
from hub_filter.bm25 import Postings
from hub_filter.capabilities import CAPABILITIES, implied
from hub_filter.document import Analysed
from hub_filter.vectors import Matrix, Vectors, unit

QUERY_CHARACTERS = 8_000
"""What is read of a prompt, and of a context."""

PARTS = 40
"""What is scored of a prompt's parts, and of its sentences."""

_ENTRY_K1, _ENTRY_B = 1.4, 0.75
_UPSTREAM_K1, _UPSTREAM_B = 2.5, 0.8
_HINT_WEIGHT = 0.4
_GLOSS_WEIGHT = 0.7
_CONTEXT_WEIGHT = 0.3

_TERMS, _MEANING = 0.6, 1.3
_UPSTREAM_TERMS, _UPSTREAM_MEANING = 0.3, 0.5
_SENTENCES, _PARTS = 0.5, 0.5
_BEST_OF_UPSTREAM, _UPSTREAM_SHARE = 3, 0.8
_IMPLIED_SHARE = 0.25

_MEANS_IT = 0.15
"""Cosine from which an entry may be hit without a term of the prompt."""

_SURELY_MEANS_IT = 0.35
"""The same for a prompt of which no entry has a term: such prompts are foreign, or gibberish that resembles a name."""

_IMPLIED_PLACE = 6
"""After so many hits comes the best entry for each implied capability that is not among them."""

_FIT_OF_PROMPT = 0.6
"""What the fit to the prompt counts, beside the capability itself, among the entries that serve a capability."""

Scores = NDArray[np.floating[Any]]


class Hit(msgspec.Struct, frozen=True):
    """An entry by its index in the ranking, and its score: above 0, at most 1, comparable within one answer only."""

    index: int
    score: float


class _Pieces(NamedTuple):
    """A prompt in pieces, the whole first, each once: a sentence is often a part as well."""

    texts: list[str]
    weights: list[dict[str, float]]
    sentences: list[int]
    """Which of them are its sentences; empty when it is of one sentence."""
    parts: list[int]
    """Which of them are its parts; empty when it is of one part."""


class Ranking:
    """Immutable. Ranks a fixed list of entries for any number of prompts."""

    def __init__(self, entries: Sequence[Analysed], vectors: Vectors | None = None) -> None:
        """Index `entries`; their positions are the indexes in every hit. Without `vectors`, terms alone decide."""
        self.entries = tuple(entries)
        """Kept so that a later ranking can share them for as long as this one is held."""
        upstreams: dict[str, dict[str, float]] = {}
        for entry in entries:
            together = upstreams.setdefault(entry.upstream_name, {})
            for term, weight in entry.weights.items():
                together[term] = together.get(term, 0.0) + weight
        positions = {name: position for position, name in enumerate(upstreams)}
        self._upstream_of = np.array([positions[entry.upstream_name] for entry in entries], dtype=np.intp)
        self._terms = Postings([entry.weights for entry in entries], k1=_ENTRY_K1, b=_ENTRY_B)
        self._upstream_terms = Postings(list(upstreams.values()), k1=_UPSTREAM_K1, b=_UPSTREAM_B)
        self._vectors = vectors
        self._upstream_vectors = _means(vectors.entries, self._upstream_of, len(upstreams)) if vectors else None
        self._serves = np.array(
            [[capability.served_by(entry.weights) for entry in entries] for capability in CAPABILITIES], dtype=np.bool_
        )
        asked = [capability.asked_as for capability in CAPABILITIES]
        # The mean of nothing is not a number, and no search of an empty ranking comes so far as to want these.
        self._capabilities = (
            _standard(self._fit([_weights(text) for text in asked], self._embedded(asked), slice(None))[0])
            if entries
            else None
        )

    @property
    def has_vectors(self) -> bool:
        """Whether meaning takes part."""
        return self._vectors is not None

    def search(self, query: str, *, context: str = "", scope: Collection[int] | None = None, limit: int) -> list[Hit]:
        """Return at most `limit` entries that fit, best first, equal ones in catalog order.

        Args:
            query: what is asked for, in the words of a person or a model.
            context: what else is known; it shifts the order a little and is the query when that is blank.
            scope: the indexes that may be hit; None means all.
            limit: above 0.
        """
        query, context = query[:QUERY_CHARACTERS], context[:QUERY_CHARACTERS]
        if not query.strip():
            query, context = context, ""
        pieces = _pieces(query)
        considered = np.arange(len(self.entries)) if scope is None else np.array(sorted(scope), dtype=np.intp)
        if not pieces.weights[0] or not len(considered) or self._capabilities is None:
            return []
        scores, fits = self._scores(pieces, context, slice(None) if scope is None else considered)
        needs = implied(query)
        capabilities = self._capabilities[needs][:, considered]
        if needs:
            scores = scores + _IMPLIED_SHARE * np.maximum(capabilities.max(axis=0), 0)
        # Rounded, so that the last bits of a sum, which differ from machine to machine, never decide.
        scores = np.round(scores, 4)
        serving = [
            at
            for fit, serves in zip(capabilities, self._serves[needs][:, considered], strict=True)
            for at in _best(fit + _FIT_OF_PROMPT * scores, serves, 1)
        ]
        return _hits(_with_implied(_best(scores, fits, limit), serving)[:limit], scores, considered)

    def _scores(
        self, pieces: _Pieces, context: str, chosen: NDArray[np.intp] | slice
    ) -> tuple[Scores, NDArray[np.bool_]]:
        """Score the chosen entries for a prompt, and say which of them fit at all."""
        weights = [dict(piece) for piece in pieces.weights]
        for term in words.terms(context):
            weights[0].setdefault(term, _CONTEXT_WEIGHT)
        embedded = self._embedded(pieces.texts)
        if embedded is not None and context.strip():
            about = self._embedded([context])
            assert about is not None
            embedded[:1] = unit(embedded[:1] + np.float32(_CONTEXT_WEIGHT) * about)
        of_pieces, fits = self._fit(weights, embedded, chosen)
        scores = _standard(of_pieces[0])
        for share, pieces_of in ((_SENTENCES, pieces.sentences), (_PARTS, pieces.parts)):
            if pieces_of:
                scores = scores + share * _standard(of_pieces[pieces_of].max(axis=0))
        scores = _standard(scores)
        upstream_of = self._upstream_of[chosen]
        return _standard(scores + _UPSTREAM_SHARE * _best_of_upstream(scores, upstream_of)[upstream_of]), fits

    def _fit(
        self, weights: Sequence[dict[str, float]], embedded: Matrix | None, chosen: NDArray[np.intp] | slice
    ) -> tuple[Scores, NDArray[np.bool_]]:
        """How well every piece fits every chosen entry (a row per piece), and which entries fit any piece at all."""
        terms = self._terms.scores(weights)[:, chosen]
        upstreams = _standard(self._upstream_terms.scores(weights), _UPSTREAM_TERMS)
        fit = _standard(terms, _TERMS)
        fits = np.logical_or.reduce(terms > 0)
        if embedded is not None and self._vectors is not None and self._upstream_vectors is not None:
            meaning = embedded @ self._vectors.entries[chosen].T
            fits |= np.logical_or.reduce(meaning > (_MEANS_IT if fits.any() else _SURELY_MEANS_IT))
            fit += _standard(meaning, _MEANING)
            upstreams += _standard(embedded @ self._upstream_vectors.T, _UPSTREAM_MEANING)
        fit += upstreams.take(self._upstream_of[chosen], axis=1)
        return fit, fits

    def _embedded(self, texts: Sequence[str]) -> Matrix | None:
        return None if self._vectors is None else self._vectors.embed(texts)


def _pieces(query: str) -> _Pieces:
    places: dict[str, int] = {query: 0}
    weights = [_weights(query)]

    def place(texts: Iterator[str]) -> list[int]:
        placed: list[int] = []
        for text in map(str.strip, texts):
            if text in places:
                placed.append(places[text])
            elif found := _weights(text):
                placed.append(places.setdefault(text, len(weights)))
                weights.append(found)
            if len(placed) == PARTS:
                break
        return placed if len(placed) > 1 else []

    sentences = place(words.sentences(query))
    parts = place(words.parts(query))
    texts = [f"{english}. {text}" if (english := glossary.english(text)) else text for text in places]
    return _Pieces(texts, weights, sentences, parts)


def _weights(text: str) -> dict[str, float]:
    weights = dict.fromkeys(words.terms(text), 1.0)
    for term in words.terms(glossary.english(text)):
        weights.setdefault(term, _GLOSS_WEIGHT)
    for term in words.hints(text):
        weights.setdefault(term, _HINT_WEIGHT)
    return weights


def _standard(rows: Scores, share: float = 1.0) -> Scores:
    """`share` times each row (or the one row) in standard deviations above its mean; a row of equals becomes zeros."""
    centred = rows - rows.mean(axis=-1, keepdims=True)
    # In one pass and without the squares as an array of their own: this is most of the time of a search.
    deviations = np.sqrt(np.einsum("...i,...i->...", centred, centred) / np.float32(rows.shape[-1]))
    centred *= (np.float32(share) / (deviations + np.float32(1e-6)))[..., np.newaxis]
    return centred


def _means(rows: Matrix, group_of: NDArray[np.intp], groups: int) -> Matrix:
    """The direction of each group's rows together."""
    together = np.zeros((groups, rows.shape[1]), dtype=np.float32)
    np.add.at(together, group_of, rows)
    return unit(together)


def _best_of_upstream(scores: Scores, upstream_of: NDArray[np.intp]) -> Scores:
    """Per upstream the sum of its best few scores over their number; one with fewer entries has less to give."""
    order = np.lexsort((-scores, upstream_of))
    upstreams = upstream_of[order]
    places = np.arange(len(order)) - np.searchsorted(upstreams, upstreams)
    among = places < _BEST_OF_UPSTREAM
    return (np.bincount(upstreams[among], weights=scores[order][among]) / _BEST_OF_UPSTREAM).astype(np.float32)


def _best(scores: Scores, among: NDArray[np.bool_], count: int) -> list[int]:
    """The places of the best `count` of the scores that are `among` them, equal ones in order."""
    places = np.flatnonzero(among)
    if len(places) > count:
        # Only what can be among the best is put in order.
        least = np.partition(scores[places], -count)[-count]
        places = places[scores[places] >= least]
    return places[np.argsort(-scores[places], kind="stable")][:count].tolist()


def _with_implied(best: Sequence[int], serving: Sequence[int]) -> list[int]:
    """Set the entries that serve an implied capability into their place among the best."""
    return list(dict.fromkeys([*best[:_IMPLIED_PLACE], *serving, *best]))


def _hits(order: Sequence[int], scores: Scores, considered: NDArray[np.intp]) -> list[Hit]:
    """The hits in this order; one that stands before a better one because of a capability takes its score."""
    if not order:
        return []
    best = max(scores[at] for at in order)
    shares = np.exp(np.maximum.accumulate(scores[list(order)][::-1])[::-1] - best)
    return [Hit(int(considered[at]), float(share)) for at, share in zip(order, shares, strict=True)]
