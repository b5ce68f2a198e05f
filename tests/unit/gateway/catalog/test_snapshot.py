"""The catalog: the same whatever the order of arrival, and every entry found by each of its names."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AnyUrl

from hub_gateway.catalog.entry import EntryKind, Offering
from hub_gateway.catalog.names import scheme_of
from hub_gateway.catalog.snapshot import merge, parse
from hub_gateway.wire import rewrite
from tests.support import json_text
from tests.unit.gateway.catalog.offerings import catalog, entry, offering, public_names, raw

NAMES = st.text(st.sampled_from("ab_"), min_size=1, max_size=3)
URIS = st.sampled_from(("file:///a", "file:///b", "test://x", "a__file:///a", "x:1"))
TEMPLATES = st.sampled_from(("file:///{path}", "test://{id}/data", "x:{+all}"))


def _unique(names: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(names, max_size=4, unique=True)


OFFERINGS = st.dictionaries(
    st.sampled_from(("a", "a_", "a__b", "git hub", "git.hub", "hub")),
    st.builds(offering, _unique(NAMES), _unique(NAMES), _unique(URIS), _unique(TEMPLATES)),
    max_size=4,
)


@given(OFFERINGS, st.randoms(use_true_random=False))
def test_a_catalog_does_not_depend_on_the_order_of_arrival(
    offerings: dict[str, Offering], shuffle: random.Random
) -> None:
    parsed = [parse(name, each) for name, each in offerings.items()]
    first = merge(parsed, {}, list(offerings))
    shuffle.shuffle(parsed)
    second = merge(parsed, {}, sorted(offerings, reverse=True))
    assert first.digest == second.digest
    assert [e.public_name for e in first.entries] == [e.public_name for e in second.entries]
    assert [e.listed_raw for e in first.entries] == [e.listed_raw for e in second.entries]


@given(OFFERINGS)
def test_every_entry_is_found_by_its_name_and_listed_under_it(offerings: dict[str, Offering]) -> None:
    found = catalog(offerings)
    assert len(found.entries) == sum(len(o.of(kind)) for o in offerings.values() for kind in EntryKind)
    for position, each in enumerate(found.entries):
        assert found.index[id(each)] == position
        same = [e for e in found.entries if (e.kind, e.public_name) == (each.kind, each.public_name)]
        assert found.find(each.kind, each.public_name) in same
        assert rewrite.text(rewrite.members(each.listed_raw)[each.kind.key]) == each.public_name
    for kind in (EntryKind.TOOL, EntryKind.PROMPT):
        names = public_names(found, kind)
        assert len(set(names)) == len(names)
        assert names == sorted(names)


@given(OFFERINGS)
def test_a_listed_resource_is_owned_by_whoever_lists_it(offerings: dict[str, Offering]) -> None:
    found = catalog(offerings)
    for each in found.entries:
        if each.kind is EntryKind.RESOURCE:
            assert each in found.owners(each.local_name) or found.find(EntryKind.RESOURCE, each.local_name) is not None
            full = f"{found.own_prefixes[each.upstream_name]}__{each.local_name}"
            assert full == each.public_name or found.owners(full) != []


@given(json_text.object_of({"name": st.just('"search"')}))
def test_a_definition_keeps_its_bytes_but_for_the_name(definition: str) -> None:
    (listed,) = catalog({"a": Offering(tools=(definition.encode(),))}).entries
    before, after = rewrite.members(definition.encode()), rewrite.members(listed.listed_raw)
    assert list(before) == list(after)
    for key in before:
        assert bytes(after[key]) == (b'"a__search"' if key == "name" else bytes(before[key]))


def test_a_name_that_stays_leaves_every_byte() -> None:
    definition = b'{ "x":1E5 ,"name" : "search" }'
    (listed,) = catalog({"a": Offering(tools=(definition,))}, {"a": ""}).entries
    assert listed.listed_raw == definition


@given(st.lists(json_text.values.map(str.encode), max_size=4))
def test_definitions_without_a_name_are_left_out_and_named(definitions: list[bytes]) -> None:
    parsed = parse("a", Offering(tools=tuple(definitions)))
    assert len(parsed.definitions) + len(parsed.faults) == len(definitions)
    for each in parsed.definitions:
        assert json.loads(each.raw)["name"] == each.local_name != ""


def test_a_definition_that_repeats_a_name_is_left_out() -> None:
    parsed = parse("a", Offering(tools=(raw(name="x", n=1), raw(name="x", n=2)), prompts=(raw(name="x"),)))
    assert [json.loads(each.raw) for each in parsed.definitions] == [{"name": "x", "n": 1}, {"name": "x"}]
    assert parsed.faults == ("a: tools[1] repeats name 'x'",)


def test_a_definition_nested_too_deep_is_left_out_or_kept_and_never_raises() -> None:
    deep = b'{"name":"x","inputSchema":' + json_text.nested(100_000).encode() + b"}"
    assert parse("a", Offering(tools=(deep,))).definitions == ()


def test_a_tool_whose_parameters_cannot_be_mirrored_is_left_out() -> None:
    twice = {name: {"type": "string", "x-mcp-header": "Region"} for name in ("a", "b")}
    mirrored = raw(name="x", inputSchema={"properties": twice})
    huge = b'{"name":"y","inputSchema":{"properties":{"a":{"x-mcp-header":"A","type":"string","maximum":1e999}}}}'
    parsed = parse("a", Offering(tools=(mirrored, huge, raw(name="z"))))
    assert [each.local_name for each in parsed.definitions] == ["z"]
    assert [fault[:5] for fault in parsed.faults] == ["a: x:", "a: y:"]


def test_prefixes_do_not_depend_on_who_is_up() -> None:
    both = ["git hub", "git.hub"]
    (one,) = merge([parse("git hub", offering(["x"]))], {}, both).entries
    (other,) = merge([parse("git.hub", offering(["x"]))], {}, both).entries
    assert one.public_name != other.public_name
    assert one.public_name in public_names(catalog({name: offering(["x"]) for name in both}))


@pytest.mark.parametrize(
    "changed",
    (
        {"a": offering(["x"]), "b": offering()},
        {"a": offering(["y"]), "b": offering(["y"])},
        {"a": offering(["x"]), "b": offering(["y"], ["p"])},
        {"a": Offering(tools=(raw(name="x", description="other"),)), "b": offering(["y"])},
        {"c": offering(["x"]), "b": offering(["y"])},
    ),
)
def test_the_digest_names_the_content(changed: dict[str, Offering]) -> None:
    assert catalog(changed).digest != catalog({"a": offering(["x"]), "b": offering(["y"])}).digest


def test_the_order_of_an_upstreams_list_is_kept_and_has_a_digest_of_its_own() -> None:
    listed, turned = catalog({"a": offering(["y", "x"], ["p"])}), catalog({"a": offering(["x", "y"], ["p"])})
    assert [(each.local_name, each.place) for each in listed.entries] == [("x", 2), ("y", 1), ("p", 1)]
    assert [(each.local_name, each.place) for each in turned.entries] == [("x", 1), ("y", 2), ("p", 1)]
    assert listed.digest == turned.digest
    assert listed.digest_in_order != turned.digest_in_order


def test_the_digest_of_other_prefixes_is_another() -> None:
    offered = {"a": offering(["x"])}
    assert catalog(offered).digest != catalog(offered, {"a": ""}).digest


def test_a_uri_of_two_upstreams_is_told_apart_by_prefix_and_of_one_stays() -> None:
    found = catalog({"a": offering(resources=["x:1", "x:2"]), "b": offering(resources=["x:1"])})
    assert public_names(found, EntryKind.RESOURCE) == ["x:2", "x:a__1", "x:b__1"]
    assert {e.upstream_name for e in found.owners("x:1")} == {"a", "b"}
    for asked, owner in (("x:a__1", "a"), ("x:b__1", "b"), ("a__x:1", "a"), ("a__x:2", "a"), ("x:2", "a")):
        assert [e.upstream_name for e in found.owners(asked)] == [owner]


@pytest.mark.parametrize(
    ("local", "public"),
    (
        ("file:///a", "file://a__/a"),
        ("https://example.com/x?y#z", "https://a__example.com/x?y#z"),
        ("urn:isbn:1", "urn:a__isbn:1"),
        ("memo://insights", "memo://a__insights"),
        ("ui://view/x.html", "ui://a__view/x.html"),
        ("git+ssh://x", "git+ssh://a__x"),
        ("no uri at all", "a__no uri at all"),
        ("b__x:1", "a__b__x:1"),
    ),
)
def test_a_uri_that_names_its_owner_is_still_a_uri_and_leads_back(local: str, public: str) -> None:
    found = catalog({"a": offering(resources=[local]), "b": offering(resources=[local])})
    assert public_names(found, EntryKind.RESOURCE)[0] == public
    assert found.split_uri(public) == ("a", local)
    if scheme_of(local):
        AnyUrl(public)  # as clients check it, who would refuse the whole list


def test_a_client_may_have_made_small_letters_of_the_owner() -> None:
    found = catalog({"My App": offering(resources=["file:///A"]), "b": offering(resources=["file:///A"])})
    assert public_names(found, EntryKind.RESOURCE) == ["file://My_App__/A", "file://b__/A"]
    assert found.split_uri("file://my_app__/A") == ("My App", "file:///A")


def test_a_uri_that_a_template_matches_is_owned_by_it() -> None:
    found = catalog({"a": offering(templates=["file:///{+path}"]), "b": offering(templates=["x:{id}"])})
    assert [e.upstream_name for e in found.owners("file:///some/where")] == ["a"]
    assert [e.upstream_name for e in found.owners("x:7")] == ["b"]
    assert found.owners("y:7") == []


def test_a_prefixed_tool_is_found_where_the_document_chose_none() -> None:
    found = catalog({"a": offering(["x"])}, {"a": ""})
    assert entry(found, "x") is entry(found, "a__x")


@pytest.mark.parametrize(
    ("uri", "split"),
    (
        ("a__x:1", ("a", "x:1")),
        ("a__b__x:1", ("a__b", "x:1")),
        ("a___x:1", ("a_", "x:1")),
        ("b__x:1", None),
        ("x:1", None),
        ("a__", ("a", "")),
    ),
)
def test_a_prefix_is_split_off_and_the_longest_one_counts(uri: str, split: tuple[str, str] | None) -> None:
    found = catalog({name: offering() for name in ("a", "a_", "a__b")})
    assert found.split_prefix(uri) == split
