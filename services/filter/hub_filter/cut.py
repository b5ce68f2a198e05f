"""How many hits are worth showing.

Owns where a ranking's good end stands. Pure. Does not know entries or prompts. A list that is cut too early hides the
tool that is needed, one that is cut too late costs tokens and judgement; so the cut is where the standing has fallen
far below the first hit's, and never before every thing that the prompt asks for has a hit.
"""

from __future__ import annotations

from collections.abc import Sequence

_LEAST_SHARE = 0.4
"""Of the first hit's standing above the mean of all entries: what has less is not worth showing. A share, since how far
the best can stand above the mean depends on how many entries there are."""

_ALWAYS = 5
"""Hits that are worth showing however far the first stands above them: it is not always the one that is needed."""


def worth_showing(standings: Sequence[float], leads: Sequence[int], budget: int) -> int:
    """Return how many hits, from the first, are worth showing.

    Args:
        standings: of the hits, above the mean of all entries, none above an earlier one.
        leads: the places of the best hit for each thing that is asked for.
        budget: at most so many; 0 means all.
    """
    most = min(budget or len(standings), len(standings))
    near = sum(standing >= _LEAST_SHARE * standings[0] for standing in standings[:most])
    return max([near, min(_ALWAYS, most), *(place + 1 for place in leads if place < most)])
