"""What filtering does now, in numbers, for `/api/filtering/stats` and `/metrics` alike.

Owns what is counted: tools as they are now, never sums over time; fractions from 0 to 1, null where there is nothing to
divide by. Decides nothing, and does not know the LLM (`llm_stats`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, get_args

from hub_gateway.catalog.entry import EntryKind
from hub_gateway.config.filter_model import FilterMode
from hub_gateway.exposure.counts import RuleCount, family, per_rule
from hub_gateway.exposure.current import Audience
from hub_gateway.management.bodies import rate
from hub_gateway.management.list_tokens import ListCost, ListTokens

MODES: tuple[str, ...] = get_args(FilterMode)


class Counts(NamedTuple):
    """Tools of the present catalog.

    Attributes:
        total: of all connected servers.
        exposed: of these, allowed by the filter.
        at_start: of these, seen by a client that has asked for nothing yet.
        rules: each rule with how many it decides on.
        categories: tools by category; those whose category nobody knows yet are left out.
        sources: the same tools by where their category comes from.
        cost: what lists of tools cost.
        known: definitions of all kinds whose category is known.
        stale: the filter did not answer for this catalog.
    """

    total: int
    exposed: int
    at_start: int
    rules: Sequence[RuleCount]
    categories: Mapping[str, int]
    sources: Mapping[str, int]
    cost: ListCost
    known: int
    stale: bool

    @property
    def hidden(self) -> int:
        """Tools that the filter hides."""
        return self.total - self.exposed


async def counted(audience: Audience, tokens: ListTokens) -> Counts:
    """Count what an audience is shown and what is kept from it."""
    exposure, at_start = audience.exposure, audience.view(audience.at_start)
    tools = [entry for entry in exposure.catalog.entries if entry.kind is EntryKind.TOOL]
    rules = per_rule(exposure)
    known = [exposure.categories.get(tool.category_key) for tool in tools]
    return Counts(
        total=len(tools),
        exposed=sum(rule.kinds[EntryKind.TOOL] for rule in rules if rule.allows),
        at_start=sum(entry.kind is EntryKind.TOOL for entry in at_start.visible),
        rules=rules,
        categories=Counter(each.name for each in known if each is not None),
        sources=Counter(each.source for each in known if each is not None),
        cost=await tokens.cost(exposure, at_start),
        known=len(exposure.categories),
        stale=exposure.verdicts.stale,
    )


def families(rules: Sequence[RuleCount]) -> dict[str, tuple[int, int]]:
    """Tools that are shown and hidden by each family of rules, by name."""
    found: dict[str, tuple[int, int]] = {}
    for rule in sorted(rules, key=lambda rule: family(rule.rule)):
        shown, hidden = found.get(family(rule.rule), (0, 0))
        tools = rule.kinds[EntryKind.TOOL]
        found[family(rule.rule)] = (shown + tools, hidden) if rule.allows else (shown, hidden + tools)
    return found


def saved_at_start(counts: Counts) -> float | None:
    """The fraction of all tokens that a client is spared which has asked for nothing yet; None without tools."""
    return rate(counts.cost.whole - counts.cost.at_start, counts.cost.whole)


def filter_stats(audience: Audience, counts: Counts) -> dict[str, Any]:
    """The part of the statistics that the gateway knows by itself, of the default audience."""
    filtering = audience.policy.filtering
    return {
        **shown(audience, counts),
        "totalExposed": counts.exposed,
        "categories": dict(sorted(counts.categories.items())),
        "categorySources": dict(sorted(counts.sources.items())),
        "serverFilterMode": None if filtering.server_filter is None else filtering.server_filter.mode,
        "allowedServers": [] if filtering.server_filter is None else filtering.server_filter.servers,
        "allowedCategories": [] if filtering.category_filter is None else filtering.category_filter.categories,
        "categoryCacheSize": counts.known,
    }


def shown(audience: Audience, counts: Counts) -> dict[str, Any]:
    """What is told of every audience, the default one and each view."""
    policy = audience.policy
    return {
        "enabled": policy.in_force,
        "mode": policy.mode or policy.filtering.mode,
        "automatic": policy.automatic,
        "stale": counts.stale,
        "totalTools": counts.total,
        "filteredTools": counts.hidden,
        "exposedTools": counts.exposed,
        "visibleAtStart": counts.at_start,
        "filterRate": rate(counts.hidden, counts.total),
        "rules": [
            {"rule": rule.rule, "allows": rule.allows, "tools": rule.kinds[EntryKind.TOOL], "entries": rule.entries}
            for rule in counts.rules
        ],
        "ruleFamilies": {
            name: {"shown": shown, "hidden": hidden} for name, (shown, hidden) in families(counts.rules).items()
        },
        "tokens": {
            "all": counts.cost.whole,
            "exposed": counts.cost.exposed,
            "atStart": counts.cost.at_start,
            "savedAtStart": saved_at_start(counts),
        },
    }
