"""What filtering does now, in numbers, for `/api/filtering/stats` and `/metrics` alike.

Owns what is counted: tools as they are now, never sums over time; fractions from 0 to 1, null where there is nothing to
divide by. Decides nothing, and does not know the LLM (`llm_stats`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple, get_args

from hub_gateway.catalog.entry import EntryKind
from hub_gateway.config.model import FilterMode
from hub_gateway.exposure.current import Exposure
from hub_gateway.exposure.policy import Policy
from hub_gateway.exposure.verdicts import Rule
from hub_gateway.exposure.view import View
from hub_gateway.management.bodies import rate

MODES: tuple[str, ...] = get_args(FilterMode)


class Counts(NamedTuple):
    """Tools of the present catalog.

    Attributes:
        total: of all connected servers.
        exposed: of these, allowed by the filter.
        at_start: of these, seen by a client that has asked for nothing yet.
        rules: tools by the rule that decided on them.
        categories: tools by category; those whose category nobody knows yet are left out.
        sources: the same tools by where their category comes from.
    """

    total: int
    exposed: int
    at_start: int
    rules: Mapping[Rule, int]
    categories: Mapping[str, int]
    sources: Mapping[str, int]


def counted(exposure: Exposure, at_start: View) -> Counts:
    """Count what an exposure holds; `at_start` is the view of whoever has asked for nothing."""
    tools = [entry for entry in exposure.catalog.entries if entry.kind is EntryKind.TOOL]
    rules = Counter(map(exposure.verdicts.rule, tools))
    known = [exposure.categories.get((tool.upstream_name, tool.digest)) for tool in tools]
    return Counts(
        total=len(tools),
        exposed=sum(count for rule, count in rules.items() if rule.allows),
        at_start=sum(entry.kind is EntryKind.TOOL for entry in at_start.visible),
        rules=rules,
        categories=Counter(each.name for each in known if each is not None),
        sources=Counter(each.source for each in known if each is not None),
    )


def filter_stats(exposure: Exposure, policy: Policy, at_start: View) -> dict[str, Any]:
    """The part of the statistics that the gateway knows by itself."""
    counts, filtering = counted(exposure, at_start), policy.filtering
    hidden = counts.total - counts.exposed
    return {
        "enabled": policy.mode is not None,
        "mode": policy.mode or filtering.mode,
        "automatic": policy.automatic,
        "stale": exposure.verdicts.stale,
        "totalTools": counts.total,
        "filteredTools": hidden,
        "exposedTools": counts.exposed,
        "totalExposed": counts.exposed,
        "visibleAtStart": counts.at_start,
        "filterRate": rate(hidden, counts.total),
        "rules": _rules(counts),
        "categories": dict(sorted(counts.categories.items())),
        "categorySources": dict(sorted(counts.sources.items())),
        "serverFilterMode": None if filtering.server_filter is None else filtering.server_filter.mode,
        "allowedServers": [] if filtering.server_filter is None else filtering.server_filter.servers,
        "allowedCategories": [] if filtering.category_filter is None else filtering.category_filter.categories,
        "categoryCacheSize": len(exposure.categories),
    }


def _rules(counts: Counts) -> list[dict[str, Any]]:
    ordered = sorted(counts.rules.items(), key=lambda pair: pair[0].id)
    return [{"rule": rule.id, "allows": rule.allows, "tools": tools} for rule, tools in ordered]
