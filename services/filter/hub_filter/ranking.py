"""Which entries fit a prompt, best first.

Owns how the pieces of a prompt are joined, where the tools that it needs without saying so stand, and why each hit
stands where it does. Pure: no file, no clock, no network, and the same answer on every replica. Does not know policies
or gRPC, nor where vectors come from.

A prompt is scored as a whole, by sentence and by part; the whole finds entries that fit the theme, the parts find the
tool for the one clause that the rest of the prompt would drown. Tools that are needed together mostly live together, so
the best entries of an upstream lift its others; and servers list first what they are there for, so that decides between
entries that fit alike.

The constants are round on purpose: around them the figures of bench/eval_ranking.py are flat.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from hub_filter import words
from hub_filter.capabilities import CAPABILITIES, implied, likely
from hub_filter.cut import worth_showing
from hub_filter.document import Analysed
from hub_filter.pieces import Pieces, taken_apart, weigh
from hub_filter.scores import Scores, best, best_of_group, best_row, deviations, falling, standardised
from hub_filter.signals import Chosen, Fit, Signals
from hub_filter.vectors import Vectors, unit

QUERY_CHARACTERS = 8_000
"""What is read of a prompt, and of a context."""

_CONTEXT_WEIGHT = 0.3
_SENTENCES, _PARTS = 0.5, 0.5
_BEST_OF_UPSTREAM, _UPSTREAM_SHARE = 3, 1.3

_PROMINENCE = 1.0
"""What the first entry in an upstream's list gains over one far behind, in standard deviations."""

_ALIKE = 0.01
"""Entries that fit so nearly as well, in standard deviations, fit alike."""

_IMPLIED_SHARE = 0.25

_IMPLIED_FITS = 3.0
"""Standard deviations from which the fit to an implied capability makes a hit, whatever else the prompt says."""

_USAGE_SHARE = 0.2
"""What the most called entry gains, in standard deviations: enough to decide between entries that fit alike."""

_MANY_CALLS = 30
"""Calls that make a favourite: where no entry has so many, none gains the whole share."""

_IMPLIED_PLACE = 4
"""After so many hits comes the best entry for each implied capability that is not among them."""

_LIKELY_PLACE, _LIKELY_PLACE_OF_MANY = 8, 14
"""The same for capabilities that are only likely needed; a prompt of many sentences has other things to show first."""

_MANY_SENTENCES = 3

_UNKNOWN_SHARE = 0.2
"""A prompt is about the unknown when more than this share of its terms stands in no entry."""

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


class _Joined(NamedTuple):
    """One score per entry considered, and what it is made of."""

    scores: Scores
    layers: list[tuple[float, list[int]]]
    """Pieces of which an entry's best counts, and how much."""
    upstream: Scores
    """What the best entries of its upstream add, and its place in the upstream's list."""


class Ranking:
    """Immutable. Ranks a fixed list of entries for any number of prompts."""

    def __init__(self, entries: Sequence[Analysed], vectors: Vectors | None = None) -> None:
        """Index `entries`; their positions are the indexes in every hit. Without `vectors`, terms alone decide."""
        self.entries = tuple(entries)
        """Kept so that a later ranking can share them for as long as this one is held."""
        self._signals = Signals(self.entries, vectors)
        self.has_vectors = vectors is not None
        """Whether meaning takes part."""
        self._serves = np.array(
            [[capability.served_by(entry.weights) for entry in entries] for capability in CAPABILITIES], dtype=np.bool_
        )
        asked = [capability.asked_as for capability in CAPABILITIES]
        # The mean of nothing is not a number, and no search of an empty ranking comes so far as to want these.
        self._capabilities = standardised(self._fit(asked, [weigh(text) for text in asked])) if entries else None

    def _fit(self, texts: Sequence[str], weights: Sequence[dict[str, float]]) -> Scores:
        return self._signals.fit(texts, weights, self._signals.embed(texts), slice(None)).total()

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
        fit = self._fit_of_prompt(pieces, context, chosen)
        total = fit.total()
        joined = _joined(total, pieces, self._signals.upstream_of[chosen], self._signals.prominence[chosen])
        needs = implied(query)
        of_needs = np.zeros(len(considered))
        fits = fit.fits
        if needs:
            fit_of_needs = self._capabilities[needs][:, considered].max(axis=0)
            fits = fits | (fit_of_needs > _IMPLIED_FITS)
            of_needs += _IMPLIED_SHARE * np.maximum(fit_of_needs, 0)
        of_use = _usage(used or {}, len(self.entries))[considered]
        # Rounded, so that the last bits of a sum, which differ from machine to machine, never decide.
        scores = np.round(joined.scores + of_needs + of_use, 4)
        order = best(scores, fits, limit)
        order = _with(order, _IMPLIED_PLACE, self._serving(needs, scores, considered))
        may_need = likely(query, is_about_unknown=self._signals.share_unknown(pieces.weights[0]) > _UNKNOWN_SHARE)
        place = _LIKELY_PLACE if len(pieces.sentences) < _MANY_SENTENCES else _LIKELY_PLACE_OF_MANY
        order = _with(order, place, self._serving(may_need, scores, considered))[:limit]
        if not order:
            return NOTHING
        standings = falling(scores[order])
        parts = _parts(fit, total, joined, order, (standings - scores[order] + of_needs[order], of_use[order]))
        shares = np.exp(standings - standings[0])
        hits = [Hit(int(considered[at]), float(share), of) for at, share, of in zip(order, shares, parts, strict=True)]
        return Found(hits, worth_showing(standings.tolist(), _leads(total[pieces.parts], order), budget))

    def _fit_of_prompt(self, pieces: Pieces, context: str, chosen: Chosen) -> Fit:
        weights = [dict(piece) for piece in pieces.weights]
        for term in words.terms(context):
            weights[0].setdefault(term, _CONTEXT_WEIGHT)
        embedded = self._signals.embed(pieces.texts)
        if embedded is not None and context.strip():
            about = self._signals.embed([context])
            assert about is not None
            embedded[:1] = unit(embedded[:1] + np.float32(_CONTEXT_WEIGHT) * about)
        return self._signals.fit(pieces.texts, weights, embedded, chosen)

    def _serving(self, needs: Sequence[int], scores: Scores, considered: NDArray[np.intp]) -> list[int]:
        """The best entry for each of these capabilities, where one serves it for certain, each followed by what its
        upstream has for what is needed then."""
        found: list[int] = []
        for need in needs:
            first = self._best_serving(need, scores, considered, np.ones(len(considered), dtype=np.bool_))
            found += first
            if first and (then := CAPABILITIES[need].then) is not None:
                upstream_of = self._signals.upstream_of[considered]
                beside = upstream_of == upstream_of[first[0]]
                beside[first[0]] = False
                found += self._best_serving(CAPABILITIES.index(then), scores, considered, beside)
        return found

    def _best_serving(
        self, need: int, scores: Scores, considered: NDArray[np.intp], among: NDArray[np.bool_]
    ) -> list[int]:
        assert self._capabilities is not None
        fit = self._capabilities[need, considered] + _FIT_OF_PROMPT * scores
        return best(fit, self._serves[need, considered] & among, 1)


def _joined(total: Scores, pieces: Pieces, upstream_of: NDArray[np.intp], prominence: Scores) -> _Joined:
    """Join the fit of the whole, of the best sentence, of the best part, and of the upstream's best entries; then add
    what the place in the upstream's list is worth."""
    layers: list[tuple[float, list[int]]] = []
    scores = np.zeros(total.shape[1], dtype=np.float32)
    for share, which in ((1.0, [0]), (_SENTENCES, pieces.sentences), (_PARTS, pieces.parts)):
        if which:
            centred = _centred(best_row(total, which))
            layers.append((share / float(deviations(centred)), which))
            scores += np.float32(layers[-1][0]) * centred
    scale = 1 / float(deviations(scores))
    scores *= np.float32(scale)
    upstream = _UPSTREAM_SHARE * best_of_group(scores, upstream_of, _BEST_OF_UPSTREAM)[upstream_of]
    scores = _centred(scores + upstream)
    last = 1 / float(deviations(scores))
    layers = [(share * scale * last, which) for share, which in layers]
    scores *= np.float32(last)
    place = _prominent(scores, prominence)
    return _Joined(scores + place, layers, upstream * np.float32(last) + place)


def _prominent(scores: Scores, prominence: Scores) -> Scores:
    """What the place in the upstream's list is worth. What fits best without it stays the first."""
    place = (_PROMINENCE * _centred(prominence)).astype(np.float32)
    if len(scores):
        joined = scores + place
        first = int(np.where(scores >= scores.max() - _ALIKE, joined, -np.inf).argmax())
        lead = float(joined.max() - joined[first])
        if lead > 0:
            place[first] += lead + _ALIKE
    return place


def _centred(scores: Scores) -> Scores:
    return scores - scores.mean()


def _usage(used: Mapping[int, int], entries: int) -> Scores:
    """What each entry gains by having been called: by orders of magnitude, beside the entry called most."""
    calls = np.zeros(entries)
    if used:
        calls[list(used)] = list(used.values())
    return _USAGE_SHARE * np.log1p(calls) / np.log1p(max(calls.max(initial=0), _MANY_CALLS))


def _with(order: Sequence[int], place: int, others: Sequence[int]) -> list[int]:
    """Set the others into their place in the order, where they do not stand before it."""
    return list(dict.fromkeys([*order[:place], *others, *order]))


def _parts(
    fit: Fit, total: Scores, joined: _Joined, order: Sequence[int], beside: tuple[Scores, Scores]
) -> list[Parts]:
    """Why each entry in `order` stands where it does; `beside` is what need and use add to each."""
    terms, meaning, upstream = np.zeros(len(order)), np.zeros(len(order)), joined.upstream[order].astype(np.float64)
    for share, which in joined.layers:
        rows = np.array(which)[total[np.ix_(which, order)].argmax(axis=0)]
        terms += share * fit.terms[rows, order]
        upstream += share * fit.upstream[rows, order]
        if fit.meaning is not None:
            meaning += share * fit.meaning[rows, order]
    return [Parts(*map(float, each)) for each in zip(terms, meaning, upstream, *beside, strict=True)]


def _leads(of_parts: Scores, order: Sequence[int]) -> list[int]:
    """The places in `order` of those that fit a part of the prompt better than any other entry does."""
    places = {at: place for place, at in enumerate(order)}
    return [places[at] for at in of_parts.argmax(axis=1).tolist() if at in places] if len(of_parts) else []
