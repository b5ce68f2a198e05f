"""What each mode allows, and by which rule."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub_filter.rules import Mode, Policy, Rule, ServerFilter, decide

NAMES = ("github", "fetch", "memory")
CATEGORIES = ("search", "web", "other")
WEB = frozenset({"web"})

server_filters = st.builds(ServerFilter, st.frozensets(st.sampled_from(NAMES)), st.booleans())
category_filters = st.none() | st.frozensets(st.sampled_from(CATEGORIES))
policies = st.builds(Policy, st.sampled_from(Mode), st.none() | server_filters, category_filters)
catalogs = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from([*CATEGORIES, ""])), max_size=30)


def decided(policy: Policy, upstream_name: str, category: str = "") -> Rule:
    verdicts = decide([upstream_name], policy, [category])
    return verdicts.rules[verdicts.rule_of_entry[0]]


def allowlist(*names: str) -> ServerFilter:
    return ServerFilter(frozenset(names))


def denylist(*names: str) -> ServerFilter:
    return ServerFilter(frozenset(names), deny=True)


@pytest.mark.parametrize(
    ("policy", "upstream_name", "category", "rule"),
    [
        (Policy(Mode.OFF), "github", "", Rule("mode:off", True)),
        (Policy(Mode.OFF, denylist("github"), frozenset()), "github", "", Rule("mode:off", True)),
        (Policy(Mode.PROMPT_BASED, denylist("github")), "github", "", Rule("mode:prompt-based", True)),
        (Policy(Mode.SERVER_ALLOWLIST, allowlist("github")), "github", "", Rule("server-allowlist:listed", True)),
        (Policy(Mode.SERVER_ALLOWLIST, allowlist("github")), "fetch", "", Rule("server-allowlist:not-listed", False)),
        (Policy(Mode.SERVER_ALLOWLIST, allowlist()), "fetch", "", Rule("server-allowlist:not-listed", False)),
        (Policy(Mode.SERVER_ALLOWLIST, denylist("github")), "github", "", Rule("server-denylist:listed", False)),
        (Policy(Mode.SERVER_ALLOWLIST, denylist("github")), "fetch", "", Rule("server-denylist:not-listed", True)),
        (Policy(Mode.SERVER_ALLOWLIST), "github", "", Rule("server-allowlist:no-filter", True)),
        (Policy(Mode.CATEGORY, None, frozenset({"search"})), "github", "search", Rule("category:search", True)),
        (Policy(Mode.CATEGORY, None, frozenset({"search"})), "github", "web", Rule("category:web", False)),
        (Policy(Mode.CATEGORY, None, frozenset({"search"})), "github", "", Rule("category-unknown", False)),
        (Policy(Mode.CATEGORY, None, frozenset()), "github", "search", Rule("category:search", False)),
        (Policy(Mode.CATEGORY), "github", "search", Rule("category:no-filter", True)),
        (Policy(Mode.HYBRID, allowlist("github"), WEB), "github", "search", Rule("server-allowlist:listed", True)),
        (Policy(Mode.HYBRID, denylist("github"), WEB), "github", "web", Rule("category:web", True)),
        (Policy(Mode.HYBRID, allowlist("fetch"), WEB), "github", "search", Rule("hybrid:neither", False)),
        (Policy(Mode.HYBRID, allowlist("fetch")), "github", "web", Rule("hybrid:neither", False)),
        (Policy(Mode.HYBRID, None, WEB), "github", "web", Rule("category:web", True)),
        (Policy(Mode.HYBRID), "github", "web", Rule("hybrid:no-filter", True)),
    ],
)
def test_the_rule_that_decides(policy: Policy, upstream_name: str, category: str, rule: Rule) -> None:
    assert decided(policy, upstream_name, category) == rule


def test_a_rule_is_told_once_however_many_entries_it_decides() -> None:
    policy = Policy(Mode.SERVER_ALLOWLIST, allowlist("github"))
    verdicts = decide(["fetch", "github", "memory", "github"], policy)
    assert verdicts.rule_of_entry == [0, 1, 0, 1]
    assert verdicts.rules == [Rule("server-allowlist:not-listed", False), Rule("server-allowlist:listed", True)]


def test_an_empty_catalog_needs_no_rule() -> None:
    assert decide([], Policy(Mode.OFF)) == ([], [])


def test_categories_that_do_not_fit_the_catalog_are_refused() -> None:
    with pytest.raises(ValueError, match="1 categories for 2 entries"):
        decide(["github", "fetch"], Policy(Mode.OFF), ["web"])


@settings(max_examples=500)
@given(policies, catalogs)
def test_an_entry_is_decided_the_same_alone_and_among_others(policy: Policy, catalog: list[tuple[str, str]]) -> None:
    verdicts = decide([name for name, _ in catalog], policy, [category for _, category in catalog])
    assert [verdicts.rules[index] for index in verdicts.rule_of_entry] == [decided(policy, *entry) for entry in catalog]
    assert len(set(verdicts.rules)) == len(verdicts.rules)


@settings(max_examples=500)
@given(st.none() | server_filters, category_filters, st.sampled_from(NAMES), st.sampled_from([*CATEGORIES, ""]))
def test_hybrid_allows_what_either_configured_rule_allows(
    server_filter: ServerFilter | None, categories: frozenset[str] | None, upstream_name: str, category: str
) -> None:
    by_server = decided(Policy(Mode.SERVER_ALLOWLIST, server_filter), upstream_name, category).allows
    by_category = decided(Policy(Mode.CATEGORY, None, categories), upstream_name, category).allows
    configured = [
        allows for allows, filter_ in ((by_server, server_filter), (by_category, categories)) if filter_ is not None
    ]
    both = decided(Policy(Mode.HYBRID, server_filter, categories), upstream_name, category).allows
    assert both == (any(configured) if configured else True)
