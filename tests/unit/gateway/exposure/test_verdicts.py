"""Verdicts: one rule for each entry, and the three answers to a filter that is away."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_gateway.exposure.verdicts import (
    AWAY_CLOSED,
    AWAY_OPEN,
    EVERYTHING,
    OFF,
    Rule,
    Verdicts,
    decided,
    without_filter,
)
from tests.unit.gateway.catalog.offerings import catalog, entry, offering

CATALOG = catalog({"a": offering(["x", "y"], ["x"], ["r:1"]), "b": offering(["x"])})
RULES = st.lists(
    st.builds(Rule, st.sampled_from(("one", "two")), st.booleans()),
    min_size=len(CATALOG.entries),
    max_size=len(CATALOG.entries),
)


@given(RULES)
def test_every_entry_has_its_own_rule(rules: list[Rule]) -> None:
    verdicts = decided(CATALOG, rules)
    assert [verdicts.rule(each) for each in CATALOG.entries] == rules
    assert [verdicts.allows(each) for each in CATALOG.entries] == [rule.allows for rule in rules]
    assert not verdicts.stale


@given(RULES)
def test_verdicts_hold_for_the_same_entries_under_other_names(rules: list[Rule]) -> None:
    verdicts = decided(CATALOG, rules)
    renamed = catalog({"a": offering(["x", "y"], ["x"], ["r:1"]), "b": offering(["x"])}, {"a": "", "b": "c"})
    for before, rule in zip(CATALOG.entries, rules, strict=True):
        (now,) = [
            each
            for each in renamed.entries
            if (each.kind, each.upstream_name, each.local_name)
            == (before.kind, before.upstream_name, before.local_name)
        ]
        assert verdicts.rule(now) == rule


def test_what_was_not_decided_is_hidden() -> None:
    verdicts = decided(catalog({}), [])
    assert verdicts.rule(CATALOG.entries[0]) == AWAY_CLOSED


def test_a_rule_too_few_is_a_fault() -> None:
    with pytest.raises(ValueError, match="zip"):
        decided(CATALOG, [])


def test_filtering_that_is_off_allows_everything() -> None:
    assert {EVERYTHING.rule(each) for each in CATALOG.entries} == {OFF}
    assert all(EVERYTHING.allows(each) for each in CATALOG.entries)


def _last() -> Verdicts:
    return decided(catalog({"a": offering(["x", "y"])}), [Rule("in", True), Rule("out", False)])


def test_last_known_keeps_the_answer_and_hides_the_rest() -> None:
    verdicts = without_filter("last-known", _last())
    assert verdicts.stale
    assert [(e.public_name, verdicts.rule(e).id) for e in CATALOG.entries if verdicts.allows(e)] == [("a__x", "in")]
    assert verdicts.rule(entry(CATALOG, "a__y")).id == "out"
    assert verdicts.rule(entry(CATALOG, "b__x")) == AWAY_CLOSED


@pytest.mark.parametrize(
    ("choice", "rule", "last"),
    (("open", AWAY_OPEN, True), ("closed", AWAY_CLOSED, True), ("last-known", AWAY_CLOSED, False)),
)
def test_without_an_answer_to_keep_all_is_shown_or_none(choice: str, rule: Rule, last: bool) -> None:
    verdicts = without_filter(choice, _last() if last else None)
    assert verdicts.stale
    assert {verdicts.rule(each) for each in CATALOG.entries} == {rule}
