"""Which names and globs of a policy hold for nothing that there is."""

from __future__ import annotations

import pytest

from hub_gateway.catalog.entry import Offering
from hub_gateway.config.filter_model import Auto, CategoryFilter, NameFilter, ToolFiltering
from hub_gateway.exposure.unmatched import unmatched
from tests.unit.gateway.catalog.offerings import catalog

CATALOG = catalog(
    {
        "github": Offering(tools=(b'{"name":"delete_issue"}', b'{"name":"list_issues"}')),
        "notes": Offering(resources=(b'{"uri":"note://a","name":"a"}',), prompts=(b'{"name":"greet"}',)),
    }
)


def _denied(*globs: str) -> list[str]:
    return unmatched(ToolFiltering(tools=NameFilter(deny=globs)), CATALOG, "toolFiltering")


def test_a_slip_of_the_pen_is_told_with_its_place_and_the_nearest_name() -> None:
    assert _denied("github__list_issues", "github__delete_isue") == [
        "toolFiltering.tools.deny[1]: 'github__delete_isue' matches nothing of what 'github__' lists now; "
        "did you mean 'github__delete_issue'?"
    ]


def test_a_glob_has_no_nearest_name() -> None:
    assert _denied("github__delete_pull_*") == [
        "toolFiltering.tools.deny[0]: 'github__delete_pull_*' matches nothing of what 'github__' lists now"
    ]


@pytest.mark.parametrize(
    "glob", ["github__*", "github__d?lete_issue", "*", "*__purge", "gitlab__x", "notes__note://a", "notes__greet", "x"]
)
def test_what_matches_or_is_of_no_server_here_is_not_told(glob: str) -> None:
    assert _denied(glob) == []


def test_every_list_of_names_is_looked_at() -> None:
    filtering = ToolFiltering(
        tools=NameFilter(allow=("github__a",)),
        auto=Auto(pinned=("github__b",)),
        category_filter=CategoryFilter((), category_overrides={"github__c": "web"}),
    )
    assert [sentence.partition(":")[0] for sentence in unmatched(filtering, CATALOG, "here")] == [
        "here.tools.allow[0]",
        "here.auto.pinned[0]",
        "here.categoryFilter.categoryOverrides.github__c",
    ]
    assert unmatched(filtering, CATALOG, "views.v.toolFiltering", filtering) == [], "the one below says it"


def test_an_override_is_a_name_and_no_glob() -> None:
    overrides = {"notes__note://?": "web", "github__list_issues": "web"}
    filtering = ToolFiltering(category_filter=CategoryFilter((), category_overrides=overrides))
    (sentence,) = unmatched(filtering, CATALOG, "here")
    assert "'notes__note://?' matches nothing of what 'notes__' lists now" in sentence


def test_the_prefix_that_was_chosen_counts() -> None:
    chosen = catalog({"github": Offering(tools=(b'{"name":"x"}',))}, {"github": "gh"})
    filtering = ToolFiltering(tools=NameFilter(deny=("gh__y", "github__y", "gh__x", "github__x")))
    assert [sentence.partition(":")[0] for sentence in unmatched(filtering, chosen, "")] == [
        ".tools.deny[0]",
        ".tools.deny[1]",
    ]
