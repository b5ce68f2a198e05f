"""Public names: unique, short enough, and the same whoever came first."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_gateway.catalog.names import DELIMITER, MAX_LENGTH, Wanted, assign, prefixes, safe

UPSTREAMS = st.text(st.sampled_from("aAb_-. /é"), min_size=1, max_size=4) | st.sampled_from(
    ("hub", "github", "git.hub", "git-hub", "git_hub", "a" * 80, "x__y")
)
LOCALS = st.text(st.sampled_from("ab_.-"), min_size=1, max_size=5) | st.sampled_from(
    ("search", "hub__call_tool", "hub__analyze_prompt", "a__b", "t" * 60, "t" * 64, "t" * 200, "t" * 199 + "u")
)
CHOICES = st.sampled_from((None, "", "x", "hub", "git_hub", "p" * 32))


@st.composite
def wishes(draw: st.DrawFn) -> tuple[list[Wanted], dict[str, str | None], list[str]]:
    """Entries that want names, the prefix options, and all upstreams."""
    upstreams = draw(st.lists(UPSTREAMS, min_size=1, max_size=5, unique=True))
    pairs = draw(st.lists(st.tuples(st.sampled_from(upstreams), LOCALS), max_size=12, unique=True))
    return [Wanted(*pair) for pair in pairs], {name: draw(CHOICES) for name in upstreams}, upstreams


@given(wishes(), st.randoms(use_true_random=False))
def test_names_are_unique_short_and_the_same_in_any_order(
    wish: tuple[list[Wanted], dict[str, str | None], list[str]], shuffle: random.Random
) -> None:
    wanted, chosen, upstreams = wish
    own = prefixes(upstreams)
    names = assign(wanted, own, chosen)
    assert len(set(names)) == len(wanted)
    assert all(len(name) <= MAX_LENGTH for name in names)
    assert not {"hub__call_tool", "hub__analyze_prompt"} & set(names)
    shuffled, others = list(wanted), list(upstreams)
    shuffle.shuffle(shuffled)
    shuffle.shuffle(others)
    assert prefixes(others) == own
    again = dict(zip(shuffled, assign(shuffled, own, chosen), strict=True))
    assert [again[each] for each in wanted] == names


@given(st.lists(UPSTREAMS, max_size=8, unique=True))
def test_prefixes_are_unique_and_safe(upstreams: list[str]) -> None:
    own = prefixes(upstreams)
    assert list(own) == upstreams
    assert len(set(own.values())) == len(upstreams)
    assert all(re.fullmatch(r"[A-Za-z0-9_]+", prefix) and prefix != "hub" for prefix in own.values())
    for name, prefix in own.items():
        assert prefix.startswith(safe(name))
        if safe(name) == name != "hub":
            assert prefix == name, "a name that is safe keeps itself, whoever else there is"


@given(LOCALS, UPSTREAMS)
def test_a_name_alone_is_the_wish_where_that_is_short(local: str, upstream: str) -> None:
    own = prefixes([upstream])
    (name,) = assign([Wanted(upstream, local)], own, {})
    wish = f"{own[upstream]}{DELIMITER}{local}"
    assert name == wish if len(wish) <= MAX_LENGTH else name.startswith(wish[:50])


def test_no_prefix_at_all() -> None:
    wanted = [Wanted("a", "search"), Wanted("a", "only"), Wanted("b", "search")]
    assert assign(wanted, prefixes("ab"), {"a": "", "b": ""}) == ["a__search", "only", "b__search"]
    assert assign(wanted[:2], prefixes("ab"), {"a": ""}) == ["search", "only"]


def test_a_prefix_of_the_document_s_choice() -> None:
    assert assign([Wanted("github", "search")], prefixes(["github"]), {"github": "gh"}) == ["gh__search"]


@pytest.mark.parametrize("chosen", (None, "hub"))
def test_the_hub_s_own_names_are_nobody_else_s(chosen: str | None) -> None:
    own = prefixes(["hub", "x"])
    names = assign([Wanted("hub", "call_tool"), Wanted("x", "hub__call_tool")], own, {"hub": chosen, "x": ""})
    assert names == [f"{own['hub']}__call_tool", "x__hub__call_tool"]


def test_two_names_that_are_alike_for_sixty_letters_stay_two() -> None:
    wanted = [Wanted("github", "t" * 100 + last) for last in "ab"]
    first, second = assign(wanted, prefixes(["github"]), {})
    assert first != second
    assert len(first) == len(second) == MAX_LENGTH
    assert first[:55] == second[:55] == ("github__" + "t" * 100)[:55]


def test_names_that_read_the_same_are_told_apart() -> None:
    wanted = [Wanted("a", "b__c"), Wanted("a__b", "c")]
    names = assign(wanted, prefixes(["a", "a__b"]), {})
    assert len(set(names)) == 2
    assert all(name.startswith("a__b__c_") for name in names)
