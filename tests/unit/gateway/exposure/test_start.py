"""What is seen at first: everything while it is little, else what is pinned and used most, within the budget."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_gateway.catalog.description import for_models
from hub_gateway.catalog.entry import Offering
from hub_gateway.catalog.tokens import estimate
from hub_gateway.config.filter_model import Auto, FilterMode, PromptBasedFiltering, ToolFiltering
from hub_gateway.exposure.audience import DIRECT, Opened
from hub_gateway.exposure.current import Exposure
from hub_gateway.exposure.policy import effective
from hub_gateway.exposure.start import SEARCH_WORTH, at_start
from hub_gateway.exposure.verdicts import Rule, decided
from tests.unit.gateway.catalog.offerings import catalog


def _tool(name: str) -> bytes:
    return msgspec.json.encode({"name": name, "description": f"Does {name} " * 5, "inputSchema": {"type": "object"}})


CATALOG = catalog(
    {
        "files": Offering(tools=tuple(_tool(f"t{n}") for n in range(6)), prompts=(b'{"name":"p"}',)),
        "mail": Offering(tools=tuple(_tool(f"m{n}") for n in range(6))),
    }
)
TOOLS = [entry for entry in CATALOG.entries if entry.kind.value == "tools"]
COSTS = {entry.public_name: estimate(for_models(entry.listed_raw)) for entry in TOOLS}
WHOLE = sum(COSTS.values())
ONE = max(COSTS.values())


def _start(used: tuple[str, ...] = (), hidden: frozenset[str] = frozenset(), **auto: Any) -> Opened:
    rules = [Rule("test", entry.public_name not in hidden) for entry in CATALOG.entries]
    exposure = Exposure(
        CATALOG, decided(CATALOG, rules), most_used={name: 1 - place / 1000 for place, name in enumerate(used)}
    )
    return at_start(effective(ToolFiltering(mode="auto", auto=Auto(**auto)), 0), exposure)


def test_a_small_catalog_is_seen_whole() -> None:
    assert _start(token_budget=WHOLE) == DIRECT
    assert _start(token_budget=WHOLE - 1) == Opened(everything=False, brief=True)


def test_what_the_policy_hides_does_not_count() -> None:
    hidden = frozenset({TOOLS[0].public_name})
    assert _start(token_budget=WHOLE - COSTS[TOOLS[0].public_name], hidden=hidden) == DIRECT
    opened = _start(("files__t0", "files__t1"), hidden, token_budget=3 * ONE)
    assert opened.public_names == {"files__t1"}


def test_pinned_and_most_used_tools_are_seen() -> None:
    used = ("mail__m3", "gone__x", "files__t1", "mail__m1")
    opened = _start(used, token_budget=4 * ONE, pinned=("files__t[01]",), most_used=8)
    assert opened.public_names == {"files__t0", "files__t1", "mail__m3", "mail__m1"}
    assert opened.meta_tools
    assert _start(used, token_budget=4 * ONE, most_used=2).public_names == {"mail__m3", "files__t1"}
    assert _start(used, token_budget=4 * ONE, most_used=0).public_names == frozenset()


def test_a_tool_that_costs_more_than_it_spares_is_not_seen() -> None:
    def opened(share: float) -> frozenset[str]:
        exposure = Exposure(CATALOG, most_used={"files__t0": share})
        return at_start(effective(ToolFiltering(mode="auto", auto=Auto(token_budget=ONE)), 0), exposure).public_names

    assert opened(COSTS["files__t0"] / SEARCH_WORTH + 0.001) == {"files__t0"}
    assert opened(COSTS["files__t0"] / SEARCH_WORTH - 0.001) == frozenset()


@given(
    st.lists(st.sampled_from([*COSTS, "nobody__knows"]), unique=True),
    st.integers(0, WHOLE + 10),
    st.integers(0, 12),
    st.sampled_from(((), ("mail__*",), ("*",))),
)
def test_only_pins_cost_more_than_the_budget(
    most_used: list[str], budget: int, count: int, pinned: tuple[str, ...]
) -> None:
    opened = _start(tuple(most_used), token_budget=budget, pinned=pinned, most_used=count)
    assert opened == _start(tuple(most_used), token_budget=budget, pinned=pinned, most_used=count)
    if opened == DIRECT:
        assert budget >= WHOLE
        return
    pins = {name for name in COSTS if pinned and (pinned == ("*",) or name.startswith("mail"))}
    chosen = opened.public_names - pins
    assert pins <= opened.public_names <= set(COSTS)
    assert len(chosen) <= count
    assert chosen <= set(most_used)
    assert not chosen or sum(COSTS[name] for name in opened.public_names) <= budget


def test_without_the_hub_s_own_tools_nothing_is_held_back() -> None:
    filtering = ToolFiltering(
        mode="auto", auto=Auto(token_budget=0), prompt_based_filtering=PromptBasedFiltering(enable_meta_tools=False)
    )
    assert at_start(effective(filtering, 0), Exposure(CATALOG)) == DIRECT


SEARCHING = ("prompt-based", "auto")


@pytest.mark.parametrize("mode", [mode for mode in (None, *get_args(FilterMode)) if mode not in SEARCHING])
def test_in_modes_that_do_not_search_everything_is_open(mode: Any) -> None:
    zero = PromptBasedFiltering(default_exposure="zero")
    policy = effective(ToolFiltering(enabled=True, mode=mode, prompt_based_filtering=zero), 5)
    assert at_start(policy, Exposure(CATALOG)) == DIRECT == Opened(meta_tools=False)
