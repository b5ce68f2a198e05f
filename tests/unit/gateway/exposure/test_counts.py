"""What is counted per rule adds up to the catalog, kind by kind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_gateway.catalog.entry import EntryKind
from hub_gateway.exposure.counts import family, per_rule
from hub_gateway.exposure.current import Exposure
from hub_gateway.exposure.verdicts import Rule, decided, without_filter
from tests.unit.gateway.catalog.offerings import catalog, offering

CATALOG = catalog({"a": offering(["x", "y"], ["p"], ["r:1"], ["t:{id}"]), "b": offering(["x", "z"], ["x"])})
RULES = (Rule("category:web", True), Rule("category:web", False), Rule("tools.deny:*", False), Rule("mode:off", True))


@given(st.lists(st.sampled_from(RULES), min_size=len(CATALOG.entries), max_size=len(CATALOG.entries)))
def test_every_entry_is_counted_once_under_its_rule(rules: list[Rule]) -> None:
    exposure = Exposure(CATALOG, decided(CATALOG, rules))
    counts = per_rule(exposure)
    assert sum(each.entries for each in counts) == len(CATALOG.entries)
    for each in counts:
        deciding = [e for e in CATALOG.entries if exposure.verdicts.rule(e) == Rule(each.rule, each.allows)]
        assert each.entries == len(deciding) > 0
        assert each.kinds == {kind: sum(e.kind is kind for e in deciding) for kind in EntryKind}
    allowed = sum(each.entries for each in counts if each.allows)
    assert allowed == sum(map(exposure.verdicts.allows, CATALOG.entries))
    assert [each.entries for each in counts] == sorted((each.entries for each in counts), reverse=True)


def test_an_absent_filter_is_a_rule_like_another() -> None:
    (only,) = per_rule(Exposure(CATALOG, without_filter("closed", None)))
    assert (only.rule, only.allows, only.entries) == ("filter-unavailable:closed", False, len(CATALOG.entries))


@pytest.mark.parametrize(
    ("rule", "of"),
    (
        ("mode:off", "mode"),
        ("category-unknown", "category"),
        ("category:web", "category"),
        ("tools.deny:a:b*", "tools.deny"),
        ("annotations:readOnly", "annotations"),
    ),
)
def test_rules_have_families(rule: str, of: str) -> None:
    assert family(rule) == of
