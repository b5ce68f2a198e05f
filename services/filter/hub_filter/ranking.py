"""Which entries fit a prompt, best first.

Owns how the signals of fit are joined, where the tools that a prompt needs without saying so stand, and why each hit
stands where it does. Pure: no file, no clock, no network, and the same answer on every replica. Does not
know policies or gRPC, nor where vectors come from.

Two signals say how well a piece of text fits an entry: the terms they share (BM25) and, when there are vectors, what
they mean. Both are asked of the entry and of its upstream, since tools that are needed together mostly live together.
A prompt is scored as a whole, by sentence and by part; the whole finds entries that fit the theme, the parts find the
tool for the one clause that the rest of the prompt would drown. Scores of different origin are joined in standard
deviations above the mean of the entries, which needs no scale of their own.

The constants are round on purpose: around them the figures of bench/eval_ranking.py are flat.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from hub_filter import words
from hub_filter.bm25 import Postings
from hub_filter.capabilities import CAPABILITIES, implied
from hub_filter.cut import worth_showing
from hub_filter.document import Analysed
from hub_filter.pieces import Pieces, taken_apart, weigh
from hub_filter.scores import Scores, best, best_of_group, deviations, falling, standard
from hub_filter.vectors import Matrix, Vectors, unit

QUERY_CHARACTERS = 8_000
"""What is read of a prompt, and of a context."""

_ENTRY_K1, _ENTRY_B = 1.4, 0.75
_UPSTREAM_K1, _UPSTREAM_B = 2.5, 0.8
_CONTEXT_WEIGHT = 0.3

_TERMS, _MEANING = 0.6, 1.3
_UPSTREAM_TERMS, _UPSTREAM_MEANING = 0.3, 0.5
_SENTENCES, _PARTS = 0.5, 0.5
_BEST_OF_UPSTREAM, _UPSTREAM_SHARE = 3, 0.8
_IMPLIED_SHARE = 0.25

_USAGE_SHARE = 0.2
"""What the most called entry gains, in standard deviations: enough to decide between entries that fit alike."""

_MANY_CALLS = 30
"""Calls that make a favourite: where no entry has so many, none gains the whole share."""

_MEANS_IT = 0.15
"""Cosine from which an entry may be hit without a term of the prompt."""

_SURELY_MEANS_IT = 0.35
"""The same for a prompt of which no entry has a term: such prompts are foreign, or gibberish that resembles a name."""

_IMPLIED_PLACE = 6
"""After so many hits comes the best entry for each implied capability that is not among them."""

_FIT_OF_PROMPT = 0.6
"""What the fit to the prompt counts, beside the capability itself, among the entries that serve a capability."""


class Parts(msgspec.Struct, frozen=True):
    """What a hit's standing is made of. Two hits of one answer differ in the sum of these by the logarithm of the ratio
    of their scores."""

    terms: float
    meaning: float
    upstream: float
    implied: float
    usage: float


class Hit(msgspec.Struct, frozen=True):
    """An entry by its index in the ranking, and its score: above 0, at most 1, comparable within one answer only."""

    index: int
    score: float
    parts: Parts


class Found(NamedTuple):
    """The hits, best first, and how many of them, from the first, are worth showing."""

    hits: list[Hit]
    cut: int


NOTHING = Found([], 0)


class _Fit(NamedTuple):
    """How well every piece of a prompt fits every entry considered, a row per piece."""

    terms: Scores
    meaning: Scores | None
    upstream: Scores

    def total(self) -> Scores:
        fit = self.terms + self.upstream
        return fit if self.meaning is None else fit + self.meaning


class _Joined(NamedTuple):
    """One score per entry considered, and what it is made of."""

    scores: Scores
    layers: list[tuple[float, list[int]]]
    """Pieces of which an entry's best counts, and how much."""
    upstream: Scores
    """What the best entries of its upstream add."""


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
            standard(self._fit([weigh(text) for text in asked], self._embedded(asked), slice(None))[0].total())
            if entries
            else None
        )

    @property
    def has_vectors(self) -> bool:
        """Whether meaning takes part."""
        return self._vectors is not None

    def search(
        self,
        query: str,
        *,
        context: str = "",
        scope: Collection[int] | None = None,
        limit: int,
        budget: int = 0,
        used: Mapping[int, int] | None = None,
    ) -> Found:
        """Return at most `limit` entries that fit, best first, equal ones in catalog order.

        Args:
            query: what is asked for, in the words of a person or a model.
            context: what else is known; it shifts the order a little and is the query when that is blank.
            scope: the indexes that may be hit; None means all.
            limit: above 0.
            budget: at most so many are worth showing; 0 means `limit`.
            used: calls so far, by index.
        """
        query, context = query[:QUERY_CHARACTERS], context[:QUERY_CHARACTERS]
        if not query.strip():
            query, context = context, ""
        pieces = taken_apart(query)
        considered = np.arange(len(self.entries)) if scope is None else np.array(sorted(scope), dtype=np.intp)
        if not pieces.weights[0] or not len(considered) or self._capabilities is None:
            return NOTHING
        chosen = slice(None) if scope is None else considered
        fit, fits = self._fit_of_prompt(pieces, context, chosen)
        total = fit.total()
        joined = self._joined(total, pieces, self._upstream_of[chosen])
        needs = implied(query)
        capabilities = self._capabilities[needs][:, considered]
        of_needs = _IMPLIED_SHARE * np.maximum(capabilities.max(axis=0), 0) if needs else np.zeros(len(considered))
        of_use = _usage(used or {}, len(self.entries))[considered]
        # Rounded, so that the last bits of a sum, which differ from machine to machine, never decide.
        scores = np.round(joined.scores + of_needs + of_use, 4)
        serving = [
            at
            for of_need, serves in zip(capabilities, self._serves[needs][:, considered], strict=True)
            for at in best(of_need + _FIT_OF_PROMPT * scores, serves, 1)
        ]
        order = _with_implied(best(scores, fits, limit), serving)[:limit]
        if not order:
            return NOTHING
        standings = falling(scores[order])
        parts = _parts(fit, total, joined, order, (standings - scores[order] + of_needs[order], of_use[order]))
        shares = np.exp(standings - standings[0])
        hits = [Hit(int(considered[at]), float(share), of) for at, share, of in zip(order, shares, parts, strict=True)]
        return Found(hits, worth_showing(standings.tolist(), _leads(total[pieces.parts], order), budget))

    def _fit_of_prompt(
        self, pieces: Pieces, context: str, chosen: NDArray[np.intp] | slice
    ) -> tuple[_Fit, NDArray[np.bool_]]:
        weights = [dict(piece) for piece in pieces.weights]
        for term in words.terms(context):
            weights[0].setdefault(term, _CONTEXT_WEIGHT)
        embedded = self._embedded(pieces.texts)
        if embedded is not None and context.strip():
            about = self._embedded([context])
            assert about is not None
            embedded[:1] = unit(embedded[:1] + np.float32(_CONTEXT_WEIGHT) * about)
        return self._fit(weights, embedded, chosen)

    def _fit(
        self, weights: Sequence[dict[str, float]], embedded: Matrix | None, chosen: NDArray[np.intp] | slice
    ) -> tuple[_Fit, NDArray[np.bool_]]:
        """How well every piece fits every chosen entry, and which entries fit any piece at all."""
        terms = self._terms.scores(weights)[:, chosen]
        upstreams = standard(self._upstream_terms.scores(weights), _UPSTREAM_TERMS)
        fits = np.logical_or.reduce(terms > 0)
        meaning = None
        if embedded is not None and self._vectors is not None and self._upstream_vectors is not None:
            meaning = embedded @ self._vectors.entries[chosen].T
            fits |= np.logical_or.reduce(meaning > (_MEANS_IT if fits.any() else _SURELY_MEANS_IT))
            meaning = standard(meaning, _MEANING)
            upstreams += standard(embedded @ self._upstream_vectors.T, _UPSTREAM_MEANING)
        return _Fit(standard(terms, _TERMS), meaning, upstreams.take(self._upstream_of[chosen], axis=1)), fits

    def _joined(self, total: Scores, pieces: Pieces, upstream_of: NDArray[np.intp]) -> _Joined:
        """Join the fit of the whole, of the best sentence, of the best part, and of the upstream's best entries."""
        shares = [(1.0, [0]), (_SENTENCES, pieces.sentences), (_PARTS, pieces.parts)]
        layers: list[tuple[float, list[int]]] = []
        scores = np.zeros(total.shape[1], dtype=np.float32)
        for share, which in shares:
            if which:
                centred = _centred(total[which].max(axis=0))
                layers.append((share / float(deviations(centred)), which))
                scores += np.float32(layers[-1][0]) * centred
        scale = 1 / float(deviations(scores))
        scores *= np.float32(scale)
        upstream = _UPSTREAM_SHARE * best_of_group(scores, upstream_of, _BEST_OF_UPSTREAM)[upstream_of]
        scores = _centred(scores + upstream)
        last = 1 / float(deviations(scores))
        return _Joined(
            scores * np.float32(last),
            [(share * scale * last, which) for share, which in layers],
            upstream * np.float32(last),
        )

    def _embedded(self, texts: Sequence[str]) -> Matrix | None:
        return None if self._vectors is None else self._vectors.embed(texts)


def _centred(scores: Scores) -> Scores:
    return scores - scores.mean()


def _means(rows: Matrix, group_of: NDArray[np.intp], groups: int) -> Matrix:
    """The direction of each group's rows together."""
    together = np.zeros((groups, rows.shape[1]), dtype=np.float32)
    np.add.at(together, group_of, rows)
    return unit(together)


def _usage(used: Mapping[int, int], entries: int) -> Scores:
    """What each entry gains by having been called: by orders of magnitude, beside the entry called most."""
    calls = np.zeros(entries)
    if used:
        calls[list(used)] = list(used.values())
    return _USAGE_SHARE * np.log1p(calls) / np.log1p(max(calls.max(initial=0), _MANY_CALLS))


def _with_implied(order: Sequence[int], serving: Sequence[int]) -> list[int]:
    """Set the entries that serve an implied capability into their place among the best."""
    return list(dict.fromkeys([*order[:_IMPLIED_PLACE], *serving, *order]))


def _parts(
    fit: _Fit, total: Scores, joined: _Joined, order: Sequence[int], beside: tuple[Scores, Scores]
) -> list[Parts]:
    """Why each entry in `order` stands where it does; `beside` is what need and use add to each."""
    terms, meaning, upstream = np.zeros(len(order)), np.zeros(len(order)), joined.upstream[order].astype(np.float64)
    for share, which in joined.layers:
        rows = np.array(which)[total[which][:, order].argmax(axis=0)]
        terms += share * fit.terms[rows, order]
        upstream += share * fit.upstream[rows, order]
        if fit.meaning is not None:
            meaning += share * fit.meaning[rows, order]
    return [Parts(*map(float, each)) for each in zip(terms, meaning, upstream, *beside, strict=True)]


def _leads(of_parts: Scores, order: Sequence[int]) -> list[int]:
    """The places in `order` of those that fit a part of the prompt better than any other entry does."""
    places = {at: place for place, at in enumerate(order)}
    return [places[at] for at in of_parts.argmax(axis=1).tolist() if at in places] if len(of_parts) else []
