"""The present exposure: swapped whole, with views that are made once for each opened set."""

from __future__ import annotations

from hub_gateway.config.filter_model import PromptBasedFiltering, ToolFiltering
from hub_gateway.exposure.audience import ALL, NOTHING
from hub_gateway.exposure.current import MAX_VIEWS, UNCATEGORIZED, Category, Current, Exposure
from hub_gateway.exposure.policy import Policy
from hub_gateway.exposure.verdicts import Rule, decided
from hub_gateway.exposure.view import Look
from tests.unit.gateway.catalog.offerings import catalog, entry, offering

CATALOG = catalog({"a": offering(["x", "y", "z"])})
WEB = Category("web", 0.9)


def _current() -> Current:
    current = Current(Look(b"{}"))
    rules = [Rule("in", True), Rule("out", False), Rule("in", True)]
    categories = {("a", entry(CATALOG, "a__z").digest): WEB}
    current.swap(Exposure(CATALOG, decided(CATALOG, rules), categories))
    return current


def test_a_view_shows_what_is_allowed_and_opened() -> None:
    current = _current()
    assert [each.local_name for each in current.view(ALL).visible] == ["x", "z"]
    assert [e.local_name for e in current.view(NOTHING.adding(frozenset({"web"}), frozenset())).visible] == ["z"]
    by_name = NOTHING.adding(frozenset(), frozenset({"a__x", "a__y"}))
    assert [e.local_name for e in current.view(by_name).visible] == ["x"], "opening does not allow"


def test_a_category_is_other_until_one_is_known() -> None:
    exposure = _current().exposure
    assert exposure.category(entry(CATALOG, "a__z")) == WEB
    assert exposure.category(entry(CATALOG, "a__x")) == UNCATEGORIZED


def test_a_view_is_made_once_until_the_next_swap() -> None:
    current = _current()
    view = current.view(ALL)
    assert current.view(ALL) is view
    current.swap(Exposure(catalog({})))
    assert current.view(ALL) is not view
    assert current.view(ALL).visible == ()
    assert [each.local_name for each in view.visible] == ["x", "z"], "whoever holds the old view goes on with it"


def test_what_all_opened_is_taken_back_by_a_policy_and_not_by_a_view_that_is_not_made_yet() -> None:
    current = Current(Look(b"{}"))
    current.define(["new"])
    opened = NOTHING.adding(frozenset({"web"}), frozenset())
    current.of("new").opened_by_all = opened
    current.swap(Exposure(CATALOG))
    assert current.of("new").opened_by_all == opened, "this exposure was begun before there was the view"
    together = Policy(ToolFiltering(prompt_based_filtering=PromptBasedFiltering(session_isolation=False)))
    current.swap(Exposure(CATALOG), {"new": Exposure(CATALOG, policy=together)})
    assert current.of("new").opened_by_all == opened
    current.swap(Exposure(CATALOG), {"new": Exposure(CATALOG)})
    assert current.of("new").opened_by_all is None


def test_views_are_bounded_and_the_one_unused_longest_goes() -> None:
    current = _current()
    kept = current.view(ALL)
    first = current.view(NOTHING)
    for number in range(MAX_VIEWS):
        current.view(NOTHING.adding(frozenset(), frozenset({str(number)})))
        assert current.view(ALL) is kept
    assert current.view(NOTHING) is not first
