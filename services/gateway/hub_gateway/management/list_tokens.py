"""What lists of tools cost a model, in tokens: what clients give it of each definition (`description.for_models`), as
`catalog.tokens` estimates it.

Owns what is remembered of definitions that were estimated already. Does not know who asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hub_gateway.catalog.description import for_models
from hub_gateway.catalog.entry import Entry, EntryKind
from hub_gateway.catalog.tokens import estimate
from hub_gateway.exposure import meta_tools
from hub_gateway.exposure.current import Exposure
from hub_gateway.exposure.view import View
from hub_gateway.wire.revisions import Era

BREATH = 32
"""Definitions estimated in one go, some milliseconds; in between, calls go on."""


class ListCost(NamedTuple):
    """Tokens of all tools, of those that are allowed, and of what a client lists that has asked for nothing yet, the
    hub's own tools among it."""

    whole: int
    exposed: int
    at_start: int


class ListTokens:
    """Estimates each definition once, for as long as it is offered."""

    def __init__(self) -> None:
        self._of: dict[str, int] = {}

    async def cost(self, exposure: Exposure, at_start: View) -> ListCost:
        """What the lists of this exposure cost."""
        tools = [entry for entry in exposure.catalog.entries if entry.kind is EntryKind.TOOL]
        known = await self._learn(tools)
        return ListCost(
            whole=_sum(known, tools),
            exposed=_sum(known, (tool for tool in tools if exposure.verdicts.allows(tool))),
            at_start=_own(at_start) + _sum(known, (e for e in at_start.visible if e.kind is EntryKind.TOOL)),
        )

    async def _learn(self, tools: Sequence[Entry]) -> dict[str, int]:
        learnt = {tool.digest: self._of[tool.digest] for tool in tools if tool.digest in self._of}
        new = {tool.digest: tool for tool in tools if tool.digest not in learnt}
        for place, (digest, tool) in enumerate(new.items()):
            learnt[digest] = estimate(for_models(tool.listed_raw))
            if place % BREATH == BREATH - 1:
                await asyncio.sleep(0)
        self._of = learnt
        return learnt


def _sum(known: dict[str, int], tools: Iterable[Entry]) -> int:
    # A view may be of the moment after, with a definition that was not counted.
    return sum(known.get(tool.digest, 0) for tool in tools)


def _own(view: View) -> int:
    listed, call_variants, brief = view.own_tools
    own = meta_tools.definitions(Era.HANDSHAKE, call_variants, brief) if listed else ()
    return sum(estimate(for_models(each)) for each in own)
