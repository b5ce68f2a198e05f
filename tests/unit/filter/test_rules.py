"""What each mode allows, and by which rule."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub_common.globs import BadGlob
from hub_filter.rules import Hints, Mode, Policy, Rule, ServerFilter, Subject, decide

NAMES = ("github", "fetch", "memory")
CATEGORIES = ("search", "web", "other")
WEB = frozenset({"web"})

server_filters = st.builds(ServerFilter, st.frozensets(st.sampled_from(NAMES)), st.booleans())
category_filters = st.none() | st.frozensets(st.sampled_from(CATEGORIES))
globs = st.lists(st.sampled_from(("*", "g*", "*__read", "*__[dw]*", "fetch__?", "none")), max_size=3).map(tuple)
said = st.builds(Hints, *[st.none() | st.booleans()] * 4)
policies = st.builds(
    Policy,
    st.sampled_from(Mode),
    st.none() | server_filters,
    category_filters,
    allow=st.none() | globs,
    deny=globs,
    required=st.just(Hints()) | said,
)
subjects = st.builds(
    lambda name, local, kind: Subject(name, (f"{name}__{local}",), kind),
    st.sampled_from(NAMES),
    st.sampled_from(("read", "write", "delete", "x")),
    st.none() | said,
)
catalogs = st.lists(st.tuples(subjects, st.sampled_from([*CATEGORIES, ""])), max_size=30)


def decided(policy: Policy, upstream_name: str, category: str = "") -> Rule:
    verdicts = decide([Subject(upstream_name)], policy, [category])
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
        (Policy(Mode.AUTO), "github", "", Rule("mode:auto", True)),
        (Policy(Mode.AUTO, denylist("github")), "github", "", Rule("hybrid:neither", False)),
        (Policy(Mode.AUTO, None, frozenset({"web"})), "github", "web", Rule("category:web", True)),
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
    verdicts = decide([Subject(name) for name in ("fetch", "github", "memory", "github")], policy)
    assert verdicts.rule_of_entry == [0, 1, 0, 1]
    assert verdicts.rules == [Rule("server-allowlist:not-listed", False), Rule("server-allowlist:listed", True)]


def test_an_empty_catalog_needs_no_rule() -> None:
    assert decide([], Policy(Mode.OFF)) == ([], [])


def test_categories_that_do_not_fit_the_catalog_are_refused() -> None:
    with pytest.raises(ValueError, match="1 categories for 2 entries"):
        decide([Subject("github"), Subject("fetch")], Policy(Mode.OFF), ["web"])


@settings(max_examples=300)
@given(policies, catalogs)
def test_an_entry_is_decided_the_same_alone_and_among_others(
    policy: Policy, catalog: list[tuple[Subject, str]]
) -> None:
    verdicts = decide([subject for subject, _ in catalog], policy, [category for _, category in catalog])
    alone = [decide([subject], policy, [category]).rules[0] for subject, category in catalog]
    assert [verdicts.rules[index] for index in verdicts.rule_of_entry] == alone
    assert len(set(verdicts.rules)) == len(verdicts.rules)


@settings(max_examples=300)
@given(policies, subjects, st.sampled_from([*CATEGORIES, ""]))
def test_the_four_rules_have_their_say_in_order(policy: Policy, subject: Subject, category: str) -> None:
    def without(**others: Any) -> Rule:
        bare = msgspec.structs.replace(policy, **{"allow": None, "deny": (), "required": Hints(), **others})
        return decide([subject], bare, [category]).rules[0]

    rule = decide([subject], policy, [category]).rules[0]
    says = [
        without(mode=Mode.OFF, deny=policy.deny),
        without(mode=Mode.OFF, required=policy.required),
        without(),
        without(allow=policy.allow),
    ]
    assert rule.allows == all(each.allows for each in says)
    assert rule == next((each for each in says if not each.allows), says[-1])


def named(*names: str, said: Hints | None = None) -> Subject:
    return Subject("github", names, said)


def own(policy: Policy, subject: Subject) -> Rule:
    return decide([subject], policy).rules[0]


@pytest.mark.parametrize(
    ("allow", "deny", "names", "rule"),
    [
        (None, ("x", "*__delete_*"), ("github__delete_repo",), Rule("tools.deny:*__delete_*", False)),
        (("github__*",), ("*__delete_*",), ("github__delete_repo",), Rule("tools.deny:*__delete_*", False)),
        (("time__*", "github__*"), (), ("github__search",), Rule("tools.allow:github__*", True)),
        (("time__*",), (), ("github__search",), Rule("tools.allow:no-match", False)),
        ((), (), ("github__search",), Rule("tools.allow:no-match", False)),
        (("github__*",), (), ("file:///a", "github__file:///a"), Rule("tools.allow:github__*", True)),
        (None, ("github__*",), ("search", "github__search"), Rule("tools.deny:github__*", False)),
        (None, ("time__*",), ("github__search",), Rule("mode:off", True)),
    ],
)
def test_globs(allow: tuple[str, ...] | None, deny: tuple[str, ...], names: tuple[str, ...], rule: Rule) -> None:
    assert own(Policy(Mode.OFF, allow=allow, deny=deny), named(*names)) == rule


READER, WRITER, SILENT = Hints(read_only=True), Hints(read_only=False, destructive=False, idempotent=True), Hints()


@pytest.mark.parametrize(
    ("required", "tool", "hidden_by"),
    [
        (Hints(read_only=True), READER, None),
        (Hints(read_only=True), WRITER, "readOnly"),
        (Hints(read_only=True), SILENT, "readOnly"),
        (Hints(read_only=True), None, None),
        (Hints(read_only=False), None, "readOnly"),
        (Hints(destructive=False), WRITER, None),
        (Hints(destructive=False), SILENT, "destructive"),
        (Hints(destructive=False), READER, None),
        (Hints(destructive=False), Hints(read_only=True, destructive=True), None),
        (Hints(destructive=True), SILENT, None),
        (Hints(idempotent=True), SILENT, "idempotent"),
        (Hints(idempotent=True), WRITER, None),
        (Hints(idempotent=True), READER, None),
        (Hints(open_world=False), SILENT, "openWorld"),
        (Hints(open_world=False), Hints(open_world=False), None),
        (Hints(open_world=False), None, None),
        (Hints(open_world=True), None, None),
        (Hints(read_only=True, open_world=False), Hints(open_world=True), "readOnly"),
    ],
)
def test_annotations(required: Hints, tool: Hints | None, hidden_by: str | None) -> None:
    rule = own(Policy(Mode.PROMPT_BASED, required=required), named("github__x", said=tool))
    expected = Rule("mode:prompt-based", True) if hidden_by is None else Rule(f"annotations:{hidden_by}", False)
    assert rule == expected


def test_a_malformed_glob_is_refused() -> None:
    with pytest.raises(BadGlob):
        decide([], Policy(Mode.OFF, deny=("[",)))


@settings(max_examples=300)
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
