"""What an audience sees before it asked for anything.

Pure. Owns what mode `auto` shows: the same for the same catalog, verdicts and choice of most used tools, so that every
replica agrees and a call changes nothing. There is no hysteresis at the budget: it would make a list depend on what was
there before, and the size only changes with the catalog, when lists change anyhow.
"""

from __future__ import annotations

from collections.abc import Sequence

from hub_common.globs import Globs
from hub_gateway.catalog.entry import Entry, EntryKind
from hub_gateway.catalog.tokens import estimate, more_than
from hub_gateway.exposure.audience import DIRECT, Opened, prompt_based
from hub_gateway.exposure.current import Exposure
from hub_gateway.exposure.policy import Policy


def at_start(policy: Policy, exposure: Exposure) -> Opened:
    """What is opened from the start. Outside the modes that search, everything is, and there are no meta-tools."""
    if policy.mode == "prompt-based":
        return prompt_based(policy.filtering.prompt_based_filtering)
    if policy.mode != "auto" or not policy.has_meta_tools:
        return DIRECT  # without the hub's own tools nothing else could ever be found
    tools = [e for e in exposure.catalog.entries if e.kind is EntryKind.TOOL and exposure.verdicts.allows(e)]
    if not more_than(policy.filtering.auto.token_budget, (entry.listed_raw for entry in tools)):
        return DIRECT
    return Opened(
        everything=False,
        call_variants=policy.filtering.prompt_based_filtering.call_variants,
        public_names=frozenset(entry.public_name for entry in _direct(policy, tools, exposure.most_used)),
    )


def _direct(policy: Policy, tools: Sequence[Entry], most_used: Sequence[str]) -> list[Entry]:
    """The pinned tools, and as many of the most used as the budget takes."""
    auto = policy.filtering.auto
    pins = Globs(auto.pinned)
    pinned = [entry for entry in tools if pins.first(entry.public_name) is not None]
    by_name = {entry.public_name: entry for entry in tools}
    used = [by_name[name] for name in most_used if name in by_name and by_name[name] not in pinned]
    left = auto.token_budget - sum(map(_cost, pinned))
    chosen: list[Entry] = []
    for entry in used[: auto.most_used]:
        left -= _cost(entry)
        if left < 0:
            break
        chosen.append(entry)
    return pinned + chosen


def _cost(entry: Entry) -> int:
    return estimate(entry.listed_raw.decode(errors="replace"))
