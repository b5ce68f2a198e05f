"""What an opened set picks: what it names in any of three ways, and whatever is no tool."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hub_gateway.catalog.entry import EntryKind
from hub_gateway.exposure.allowed import Allowed
from hub_gateway.exposure.audience import Opened
from tests.unit.gateway.catalog.offerings import catalog, offering

CATALOG = catalog({"a": offering(["x", "y"], ["p"], ["r:1"], ["t:{id}"]), "b": offering(["x", "z"], ["x"])})
NAMES = [each.public_name for each in CATALOG.entries]
CATEGORY = st.sampled_from(("web", "cloud", "other"))


@given(
    st.lists(st.tuples(st.booleans(), CATEGORY), min_size=len(NAMES), max_size=len(NAMES)),
    st.builds(
        Opened,
        st.booleans(),
        st.booleans(),
        st.frozensets(CATEGORY),
        st.frozensets(st.sampled_from(("a", "b", "nobody"))),
        st.frozensets(st.sampled_from((*NAMES, "nobody__knows"))),
    ),
)
def test_what_is_opened_is_seen_and_nothing_else(known: list[tuple[bool, str]], opened: Opened) -> None:
    allowed = [(each, said) for each, (allows, said) in zip(CATALOG.entries, known, strict=True) if allows]
    expected = [
        each
        for each, said in allowed
        if each.kind is not EntryKind.TOOL
        or opened.everything
        or said in opened.categories
        or each.upstream_name in opened.upstreams
        or each.public_name in opened.public_names
    ]
    assert Allowed(allowed).opened(opened) == expected
