"""What an audience sees before it asked for anything.

Pure. Owns what mode `auto` shows: the same for the same catalog, verdicts and choice of most used tools, so that every
replica agrees and a call changes nothing. There is no hysteresis at the budget: it would make a list depend on what was
there before, and the size only changes with the catalog, when lists change anyhow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hub_common.globs import Globs
from hub_gateway.catalog.description import for_models
from hub_gateway.catalog.entry import Entry, EntryKind
from hub_gateway.catalog.tokens import estimate, more_than
from hub_gateway.exposure.audience import DIRECT, Opened, prompt_based
from hub_gateway.exposure.current import Exposure
from hub_gateway.exposure.policy import Policy

SEARCH_WORTH = 200
"""Tokens a definition may cost in every request to spare each task a search (`bench/replay.py`); one that spares every
fifth task a search may cost a fifth."""


def at_start(policy: Policy, exposure: Exposure) -> Opened:
    """What is opened from the start. Outside the modes that search, everything is, and there are no meta-tools."""
    if policy.mode == "prompt-based":
        return prompt_based(policy.filtering.prompt_based_filtering)
    if policy.mode != "auto" or not policy.has_meta_tools:
        return DIRECT  # without the hub's own tools nothing else could ever be found
    tools = [e for e in exposure.catalog.entries if e.kind is EntryKind.TOOL and exposure.verdicts.allows(e)]
    if not more_than(policy.filtering.auto.token_budget, (for_models(entry.listed_raw) for entry in tools)):
        return DIRECT
    return Opened(
        everything=False,
        brief=True,
        call_variants=policy.filtering.prompt_based_filtering.call_variants,
        public_names=frozenset(entry.public_name for entry in _direct(policy, tools, exposure.most_used)),
    )


def _direct(policy: Policy, tools: Sequence[Entry], most_used: Mapping[str, float]) -> list[Entry]:
    """The pinned tools, and of the most used those that cost less than the searches they spare, within the budget."""
    auto = policy.filtering.auto
    pins = Globs(auto.pinned)
    pinned = [entry for entry in tools if pins.first(entry.public_name) is not None]
    by_name = {entry.public_name: entry for entry in tools if entry.is_for_models}  # no other spares a search
    left = auto.token_budget - sum(map(_cost, pinned))
    chosen: list[Entry] = []
    for name in sorted(most_used, key=lambda name: (-most_used[name], name)):
        entry = by_name.get(name)
        if entry is None or entry in pinned or len(chosen) >= auto.most_used:
            continue
        cost = _cost(entry)
        if cost <= min(left, SEARCH_WORTH * most_used[name]):
            left -= cost
            chosen.append(entry)
    return pinned + chosen


def _cost(entry: Entry) -> int:
    return estimate(for_models(entry.listed_raw))
