"""Which tools fit a prompt: one engine for every tool of the hub that looks for others.

Filter first (a shortlist, in milliseconds), then the LLM over that shortlist where one is configured: it chooses, and
it says in other words what is asked for, which the filter ranks again. Each of the two may be away.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import NamedTuple

from hub_gateway.catalog.description import describe
from hub_gateway.catalog.entry import Entry
from hub_gateway.config.filter_model import ToolFiltering
from hub_gateway.errors import SatelliteError
from hub_gateway.exposure.current import Exposure
from hub_gateway.routing.usage import Usage
from hub_gateway.satellites.categorizer import Analysis, Categorizer
from hub_gateway.satellites.filter import Asked, Filter

SHORTLIST = 24
"""Tools that are ranked: those the LLM chooses from, and those an answer may name."""

MATCHES = 8
"""Tools that fit well enough to be opened, where nothing narrows the shortlist."""

RANK_OFFSET = 60
"""Of reciprocal rank fusion: how little the very first places count more than the next (Cormack et al., 2009)."""

_WORD = re.compile(r"[a-z0-9]+")


class Wanted(NamedTuple):
    """What is looked for, and among what."""

    prompt: str
    context: str
    scope: Sequence[Entry]
    limit: int = SHORTLIST


class Found(NamedTuple):
    """Tools, best first. The first `shown` are worth telling of, and of these the first `matches` fit; `confidence` is
    from 0 to 1."""

    entries: list[Entry]
    shown: int
    confidence: float
    analysis: Analysis | None = None
    by_words: bool = False
    """The filter is away: they share words with the prompt, and that is all that is known."""

    @property
    def matches(self) -> int:
        """How many fit well enough to be opened."""
        named = len(self.analysis.public_names) if self.analysis is not None else 0
        return min(self.shown, max(MATCHES, named))


class Finding:
    """Asks the two satellites, and does without either."""

    def __init__(self, satellites: tuple[Filter, Categorizer], usage: Usage) -> None:
        self._usage = usage
        self._filter, self._categorizer = satellites

    async def find(self, exposure: Exposure, filtering: ToolFiltering, wanted: Wanted) -> Found:
        """The tools that fit, of those in scope."""
        shortlist, cut, by_words = await self._shortlist(exposure, wanted)
        best = [entry for entry, _ in shortlist]
        found = Found(best, cut, _confidence(shortlist), by_words=by_words)
        llm = filtering.llm_categorization
        if not wanted.scope or llm is None or not llm.enabled:
            return found
        categories = {entry: exposure.category(entry).name for entry in best}
        try:
            analysis = await self._categorizer.analyze_prompt(wanted.prompt, wanted.context, categories, filtering)
        except SatelliteError:
            return found
        by_name = {entry.public_name: entry for entry in best}
        named = [by_name[name] for name in analysis.public_names if name in by_name]
        if not analysis.requests:
            entries, shown = (named, len(named)) if named else (best, cut)
            return Found(entries, shown, analysis.confidence, analysis, by_words)
        asking = (self._shortlist(exposure, wanted._replace(prompt=each, context="")) for each in analysis.requests)
        again = [[entry for entry, _ in hits[:shown]] for hits, shown, _ in await asyncio.gather(*asking)]
        entries = list(dict.fromkeys([*named, *fused([best[:cut], *again])]))
        return Found(entries, len(entries), analysis.confidence, analysis, by_words)

    async def _shortlist(self, exposure: Exposure, wanted: Wanted) -> tuple[list[tuple[Entry, float]], int, bool]:
        """What the filter ranks first, with scores, how many of it are worth showing, and whether it is away: then
        words alone decide."""
        if not wanted.scope:
            return [], 0, False
        used = self._usage.of(wanted.scope)
        asked = Asked(query=wanted.prompt, context=wanted.context, limit=wanted.limit, used=used)
        try:
            found = await self._filter.search(exposure, asked, wanted.scope)
        except SatelliteError:
            ranked = by_words(f"{wanted.prompt} {wanted.context}", wanted.scope)[: wanted.limit]
            return ranked, len(ranked), True
        return [(match.entry, match.score) for match in found.matches], found.cut, False


def by_words(prompt: str, entries: Sequence[Entry]) -> list[tuple[Entry, float]]:
    """Rank by shared words: the answer while the filter is away."""
    wanted = set(_WORD.findall(prompt.lower()))
    scored = [
        (entry, float(len(wanted & set(_WORD.findall(f"{entry.public_name} {describe(entry).text}".lower())))))
        for entry in entries
    ]
    return sorted((pair for pair in scored if pair[1] > 0), key=lambda pair: -pair[1])


def fused(rankings: Sequence[Sequence[Entry]]) -> list[Entry]:
    """One ranking of several by reciprocal ranks; ties stand as they were first met."""
    scores: dict[Entry, float] = {}
    for ranking in rankings:
        for place, entry in enumerate(ranking):
            scores[entry] = scores.get(entry, 0.0) + 1.0 / (RANK_OFFSET + place)
    return sorted(scores, key=lambda entry: -scores[entry])


def _confidence(shortlist: list[tuple[Entry, float]]) -> float:
    """How far the best match stands out, between 0 and 1: a ratio of scores, no probability."""
    if not shortlist or shortlist[0][1] <= 0:
        return 0.0
    rest = shortlist[MATCHES][1] if len(shortlist) > MATCHES else 0.0
    return min(1.0, max(0.0, 1.0 - rest / shortlist[0][1]))
