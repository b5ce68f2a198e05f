"""Which entries are allowed, and by which rule: the filter's answer, kept for when the filter is away.

Owns the three written answers to the filter's absence (`toolFiltering.onFilterUnavailable`). Decides no rule itself.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from hub_gateway.catalog.entry import Entry
from hub_gateway.catalog.snapshot import Catalog


class Rule(msgspec.Struct, frozen=True):
    """A rule by its id, such as `server-allowlist:not-listed`."""

    id: str
    allows: bool


OFF = Rule("mode:off", True)
AWAY_OPEN = Rule("filter-unavailable:open", True)
AWAY_CLOSED = Rule("filter-unavailable:closed", False)

Key = tuple[str, str, str]


def key_of(entry: Entry) -> Key:
    """What identifies an entry from one catalog to the next, whatever its public name."""
    return (entry.kind.value, entry.upstream_name, entry.local_name)


class Verdicts(msgspec.Struct, frozen=True):
    """A rule for every entry that was decided. `stale` says that the filter did not answer for the present catalog."""

    rules: Mapping[Key, Rule]
    default: Rule = OFF
    stale: bool = False

    def rule(self, entry: Entry) -> Rule:
        """The rule that decided on this entry."""
        return self.rules.get(key_of(entry), self.default)

    def allows(self, entry: Entry) -> bool:
        """Whether the entry is allowed."""
        return self.rule(entry).allows


EVERYTHING = Verdicts({})
"""Filtering is off: nobody needs to be asked."""


def decided(catalog: Catalog, rules: list[Rule]) -> Verdicts:
    """Verdicts from the filter's answer, one rule per catalog entry."""
    return Verdicts({key_of(e): rule for e, rule in zip(catalog.entries, rules, strict=True)}, AWAY_CLOSED)


def without_filter(choice: str, last: Verdicts | None, mode: str | None = None) -> Verdicts:
    """The answer while the filter is away.

    `open` allows everything, `closed` nothing. `last-known` keeps the last answer; what it did not cover stays hidden,
    because a policy is configured and nobody can say that it allows the entry.

    Args:
        choice: one of these.
        last: the filter's last answer for the same policy; None where there is none.
        mode: of a policy that hides nothing, which `last-known` knows of every entry; None for any other.
    """
    if choice == "last-known" and mode is not None:
        return Verdicts({}, Rule(f"mode:{mode}", True), stale=True)
    if choice == "open":
        return Verdicts({}, AWAY_OPEN, stale=True)
    if choice == "closed" or last is None:
        return Verdicts({}, AWAY_CLOSED, stale=True)
    return Verdicts(last.rules, AWAY_CLOSED, stale=True)
