"""How many entries each rule decides now: pure, from one exposure, so the numbers add up to the catalog.

For statistics and metrics: `per_rule(exposure)` once per answer or scrape. Numbers are current, never cumulative. Sum
`entries` over the rules that allow for what the policy shows, over the others for what it hides. `family` groups rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from hub_gateway.catalog.entry import EntryKind
from hub_gateway.exposure.current import Exposure


class RuleCount(msgspec.Struct, frozen=True):
    """One rule and what it decides. `kinds` has every kind, with 0 where there are none."""

    rule: str
    allows: bool
    entries: int
    kinds: Mapping[EntryKind, int]


def per_rule(exposure: Exposure) -> list[RuleCount]:
    """Every rule that decides over at least one entry, those that decide over most first, then by id."""
    counted = Counter((exposure.verdicts.rule(entry), entry.kind) for entry in exposure.catalog.entries)
    rules = {rule for rule, _ in counted}
    found = [
        RuleCount(rule.id, rule.allows, sum(kinds.values()), kinds)
        for rule in rules
        for kinds in [{kind: counted[rule, kind] for kind in EntryKind}]
    ]
    return sorted(found, key=lambda each: (-each.entries, each.rule))


def family(rule: str) -> str:
    """What sort of rule an id is of: `mode`, `server-allowlist`, `server-denylist`, `category`, `hybrid`, `tools.deny`,
    `tools.allow`, `annotations` or `filter-unavailable`."""
    return rule.partition(":")[0].removesuffix("-unknown")
