"""What an opened set picks: what it names in any of three ways, in the order of opening, and whatever is no tool."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hub_gateway.catalog.entry import Entry, EntryKind
from hub_gateway.exposure.allowed import Allowed
from hub_gateway.exposure.audience import Batch, Opened
from tests.unit.gateway.catalog.offerings import catalog, offering

CATALOG = catalog({"a": offering(["x", "y"], ["p"], ["r:1"], ["t:{id}"]), "b": offering(["x", "z"], ["x"])})
NAMES = [each.public_name for each in CATALOG.entries]
CATEGORY = st.sampled_from(("web", "cloud", "other"))
CATEGORIES, PUBLIC_NAMES = st.frozensets(CATEGORY), st.frozensets(st.sampled_from((*NAMES, "nobody__knows")))


@given(
    st.lists(st.tuples(st.booleans(), CATEGORY), min_size=len(NAMES), max_size=len(NAMES)),
    st.builds(
        Opened,
        everything=st.booleans(),
        categories=CATEGORIES,
        upstreams=st.frozensets(st.sampled_from(("a", "b", "nobody"))),
        public_names=PUBLIC_NAMES,
        later=st.lists(st.builds(Batch, CATEGORIES, PUBLIC_NAMES), max_size=3).map(tuple),
    ),
)
def test_what_is_opened_is_seen_and_nothing_else(known: list[tuple[bool, str]], opened: Opened) -> None:
    allowed = [(each, said) for each, (allows, said) in zip(CATALOG.entries, known, strict=True) if allows]
    expected: list[Entry] = []
    for batch in (opened, *opened.later):
        expected += [
            each
            for each, said in allowed
            if each.kind is EntryKind.TOOL
            and each not in expected
            and (
                opened.everything
                or said in batch.categories
                or each.public_name in batch.public_names
                or (batch is opened and each.upstream_name in opened.upstreams)
            )
        ]
    assert set(expected) == {
        each
        for each, said in allowed
        if each.kind is EntryKind.TOOL and opened.opens(each.public_name, each.upstream_name, said)
    }
    expected += [each for each, _ in allowed if each.kind is not EntryKind.TOOL]
    assert Allowed(allowed).opened(opened) == expected
