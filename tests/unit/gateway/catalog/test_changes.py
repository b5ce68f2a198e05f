"""What counts as a change of a list: what clients see, and not in which order it came."""

from __future__ import annotations

import pytest

from hub_gateway.catalog.changes import changed, listed
from hub_gateway.catalog.entry import Offering
from tests.unit.gateway.catalog.offerings import catalog, offering, raw

BEFORE = {"a": offering(["x", "y"], ["p"], ["r:1"], ["t:{id}"])}


@pytest.mark.parametrize(
    ("now", "words"),
    (
        (BEFORE, ()),
        ({"a": offering(["y", "x"], ["p"], ["r:1"], ["t:{id}"])}, ()),
        ({"a": offering(["x"], ["p"], ["r:1"], ["t:{id}"])}, ("tools",)),
        ({"a": offering(["x", "y"], [], ["r:1"], ["t:{id}"])}, ("prompts",)),
        ({"a": offering(["x", "y"], ["p"], ["r:2"], ["t:{id}"])}, ("resources",)),
        ({"a": offering(["x", "y"], ["p"], ["r:1"], [])}, ("resources",)),
        ({}, ("tools", "prompts", "resources")),
    ),
)
def test_words_of_what_differs(now: dict[str, Offering], words: tuple[str, ...]) -> None:
    assert changed(listed(catalog(BEFORE).entries), listed(catalog(now).entries)) == words


def test_a_description_counts() -> None:
    old, new = (catalog({"a": Offering(tools=(raw(name="x", description=said),))}) for said in ("one", "two"))
    assert changed(listed(old.entries), listed(new.entries)) == ("tools",)
