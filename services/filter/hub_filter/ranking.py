"""Which entries fit a prompt, best first.

Owns what an entry's texts weigh, how a prompt that asks for several things is matched, and how the scores are joined.
Pure: no file, no clock, no network, and the same answer on every replica. Does not know policies or gRPC.

A prompt is scored as a whole and part by part; the whole finds entries that fit the theme, the parts find the tool for
the one clause that the rest of the prompt would drown. In both an entry gains by what its upstream offers altogether,
because tools that are needed together mostly live together.

A further signal (embeddings, usage) belongs into `_scores`, where one part of the prompt meets the entries.
"""

from __future__ import annotations

import heapq
from collections.abc import Container, Mapping, Sequence

import msgspec

from hub_filter import words
from hub_filter.bm25 import Postings

QUERY_CHARACTERS = 8_000
"""What is read of a prompt, and of a context."""

PARTS = 40
"""What is scored of a prompt's parts."""

_DESCRIPTION_CHARACTERS = 400
"""Descriptions say what a tool does in their first sentences; the rest is manual, and mentions everything."""

_NAME_CHARACTERS = 400
_PARAMETERS = 64
_PARAMETER_CHARACTERS = 240

_FIELDS = {"upstream": 2.0, "name": 3.0, "title": 1.5, "description": 1.0, "parameters": 0.7, "explained": 0.4}
_ENTRY_K1, _ENTRY_B = 1.4, 0.75
_UPSTREAM_K1, _UPSTREAM_B = 2.5, 0.8
_UPSTREAM_SHARE = 0.35
_WHOLE_SHARE = 0.45
_HINT_WEIGHT = 0.4
_CONTEXT_WEIGHT = 0.3


class Document(msgspec.Struct, frozen=True):
    """What is known of an entry in words."""

    upstream_name: str
    local_name: str
    title: str = ""
    description: str = ""
    parameters: Sequence[str] = ()
    parameter_descriptions: Sequence[str] = ()


class Analysed(msgspec.Struct, frozen=True, eq=False, weakref=True):
    """An entry ready to be ranked. Depends on nothing but the entry, so catalogs that share it share this."""

    upstream_name: str
    weights: Mapping[str, float]


class Hit(msgspec.Struct, frozen=True):
    """An entry by its index in the ranking, and its score: above 0, at most 1, comparable within one answer only."""

    index: int
    score: float


def analyse(document: Document) -> Analysed:
    """Weigh the terms of one entry."""
    weights: dict[str, float] = {}
    texts = {
        "upstream": document.upstream_name,
        "name": document.local_name[:_NAME_CHARACTERS],
        "title": document.title[:_NAME_CHARACTERS],
        "description": document.description[:_DESCRIPTION_CHARACTERS],
        "parameters": " ".join(name[:_PARAMETER_CHARACTERS] for name in document.parameters[:_PARAMETERS]),
        "explained": " ".join(text[:_PARAMETER_CHARACTERS] for text in document.parameter_descriptions[:_PARAMETERS]),
    }
    for field, text in texts.items():
        for term in words.terms(text):
            weights[term] = weights.get(term, 0.0) + _FIELDS[field]
    return Analysed(document.upstream_name, weights)


class Ranking:
    """Immutable. Ranks a fixed list of entries for any number of prompts."""

    def __init__(self, entries: Sequence[Analysed]) -> None:
        """Index `entries`; their positions are the indexes in every hit."""
        # Kept so that a later catalog can share them for as long as this one is held.
        self._analysed = tuple(entries)
        upstreams: dict[str, dict[str, float]] = {}
        for entry in entries:
            together = upstreams.setdefault(entry.upstream_name, {})
            for term, weight in entry.weights.items():
                together[term] = together.get(term, 0.0) + weight
        positions = {name: position for position, name in enumerate(upstreams)}
        self._upstream_of = [positions[entry.upstream_name] for entry in entries]
        self._entries = Postings([entry.weights for entry in entries], k1=_ENTRY_K1, b=_ENTRY_B)
        self._upstreams = Postings(list(upstreams.values()), k1=_UPSTREAM_K1, b=_UPSTREAM_B)

    def search(self, query: str, *, context: str = "", scope: Container[int] | None = None, limit: int) -> list[Hit]:
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
        weights = _weights(query)
        for term in words.terms(context):
            weights.setdefault(term, _CONTEXT_WEIGHT)
        scores = _normalised(self._scores(weights, scope))
        fits = self._fits_of_parts(query, scope)
        if fits:
            scores = {
                index: _WHOLE_SHARE * score + (1 - _WHOLE_SHARE) * fits.get(index, 0.0)
                for index, score in scores.items()
            }
        best = heapq.nsmallest(limit, scores.items(), key=lambda item: (-item[1], item[0]))
        return [Hit(index, score) for index, score in best]

    def _fits_of_parts(self, query: str, scope: Container[int] | None) -> dict[int, float]:
        """Per entry how well it fits the part it fits best; empty when the prompt is of one piece."""
        parts = [weights for part in words.parts(query) if (weights := _weights(part))][:PARTS]
        if len(parts) < 2:
            return {}
        best: dict[int, float] = {}
        for weights in parts:
            for index, score in self._scores(weights, scope).items():
                if score > best.get(index, 0.0):
                    best[index] = score
        return _normalised(best)

    def _scores(self, weights: Mapping[str, float], scope: Container[int] | None) -> dict[int, float]:
        """Score every entry in scope that shares a term with one part of the prompt."""
        own = self._entries.score(weights)
        upstreams = self._upstreams.score(weights)
        upstream_of = self._upstream_of
        return {
            index: score + _UPSTREAM_SHARE * upstreams[upstream_of[index]]
            for index, score in own.items()
            if scope is None or index in scope
        }


def _weights(text: str) -> dict[str, float]:
    weights = dict.fromkeys(words.terms(text), 1.0)
    for term in words.hints(text):
        weights.setdefault(term, _HINT_WEIGHT)
    return weights


def _normalised(scores: Mapping[int, float]) -> dict[int, float]:
    best = max(scores.values(), default=1.0)
    return {index: score / best for index, score in scores.items()}
