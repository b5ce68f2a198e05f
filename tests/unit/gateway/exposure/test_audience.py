"""What is open at the start, and that opening only ever adds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_gateway.catalog.entry import EntryKind
from hub_gateway.config.filter_model import PromptBasedFiltering
from hub_gateway.exposure.allowed import Allowed
from hub_gateway.exposure.audience import ALL, NOTHING, Opened, prompt_based
from tests.unit.gateway.catalog.offerings import catalog, offering

CATALOG = catalog(
    {
        "filesystem": offering(["read", "write"], ["p"], ["r:1"], ["t:{id}"]),
        "memory": offering(["recall"]),
        "github": offering(["search"]),
    }
)
CATEGORIES = {"write": "filesystem", "search": "version-control"}
ALLOWED = Allowed((each, CATEGORIES.get(each.local_name, "other")) for each in CATALOG.entries)
SETS = st.frozensets(st.sampled_from(("filesystem", "other", "version-control")))
NAMES = st.frozensets(st.sampled_from([each.public_name for each in CATALOG.entries]))
OPENED = st.builds(
    Opened,
    everything=st.booleans(),
    meta_tools=st.booleans(),
    categories=SETS,
    upstreams=st.frozensets(st.just("memory")),
    public_names=NAMES,
)


def listed(opened: Opened) -> list[str]:
    """The tools that are open, as they are listed."""
    return [each.public_name for each in ALLOWED.opened(opened) if each.kind is EntryKind.TOOL]


def shown(opened: Opened) -> set[str]:
    """The same in no order."""
    return set(listed(opened))


@pytest.mark.parametrize(
    ("exposure", "meta_tools", "tools", "lists_meta"),
    (
        ("zero", True, set[str](), False),
        ("meta-only", True, set[str](), True),
        ("meta-only", False, set[str](), False),
        ("minimal", True, {"filesystem__read", "filesystem__write", "memory__recall"}, True),
        ("all", True, {"filesystem__read", "filesystem__write", "memory__recall", "github__search"}, True),
        ("all", False, {"filesystem__read", "filesystem__write", "memory__recall", "github__search"}, False),
    ),
)
def test_the_start_of_prompt_based_mode(exposure: Any, meta_tools: bool, tools: set[str], lists_meta: bool) -> None:
    prompt = PromptBasedFiltering(default_exposure=exposure, enable_meta_tools=meta_tools)
    opened = prompt_based(prompt)
    assert shown(opened) == tools
    assert opened.meta_tools == lists_meta


@given(OPENED, SETS, NAMES)
def test_opening_only_adds(opened: Opened, categories: frozenset[str], names: frozenset[str]) -> None:
    more = opened.adding(categories, names)
    assert shown(opened) <= shown(more)
    assert more.adding(categories, names) == more
    tools = {each.public_name for each in CATALOG.entries if each.kind is EntryKind.TOOL}
    assert names & tools <= shown(more)
    assert hash(more) == hash(opened.adding(categories, names))


@given(OPENED, st.lists(st.tuples(SETS, NAMES), max_size=4))
def test_a_list_keeps_its_beginning(start: Opened, openings: list[tuple[frozenset[str], frozenset[str]]]) -> None:
    beyond = NOTHING
    for categories, names in openings:
        before, beyond = listed(start.followed_by(beyond)), beyond.adding(categories, names)
        after = listed(start.followed_by(beyond))
        assert after[: len(before)] == before
        assert after[len(before) :] == sorted(after[len(before) :])


def test_all_and_nothing() -> None:
    assert len(shown(ALL)) == 4
    assert shown(NOTHING) == set()
