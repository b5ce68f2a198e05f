"""The policy in force: the threshold turns filtering on, and never says another mode than the document."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_gateway.config.filter_model import AnnotationFilter, CategoryFilter, FilterMode, NameFilter, ToolFiltering
from hub_gateway.exposure.policy import AUTO_CATEGORIES, effective

MODES = get_args(FilterMode)
FILTERINGS = st.builds(
    ToolFiltering,
    enabled=st.sampled_from((None, True, False)),
    mode=st.sampled_from((None, *MODES)),
    auto_enable_threshold=st.sampled_from((0, 1, 5, 1_000)),
    category_filter=st.sampled_from((None, CategoryFilter(("web",)))),
)


@given(FILTERINGS, st.integers(0, 2_000))
def test_a_configured_mode_is_never_another(filtering: ToolFiltering, tools: int) -> None:
    policy = effective(filtering, tools)
    if filtering.mode is not None:
        assert policy.mode in (None, filtering.mode)
    if filtering.enabled is not None:
        assert not policy.automatic
        assert policy.mode == (filtering.mode if filtering.enabled else None)
    if filtering.category_filter is not None:
        assert policy.filtering == filtering


@given(FILTERINGS, st.integers(0, 10_000))
def test_zero_is_never(filtering: ToolFiltering, tools: int) -> None:
    if filtering.auto_enable_threshold == 0:
        assert not effective(filtering, tools).automatic


@pytest.mark.parametrize(("tools", "mode"), ((10, None), (11, "category")))
def test_more_tools_than_the_threshold_turn_it_on(tools: int, mode: str | None) -> None:
    policy = effective(ToolFiltering(auto_enable_threshold=10), tools)
    assert (policy.mode, policy.automatic) == (mode, mode is not None)


def test_turned_on_by_itself_it_shows_the_usual_categories_or_the_document_s() -> None:
    own = effective(ToolFiltering(auto_enable_threshold=1), 2)
    assert own.filtering.category_filter == CategoryFilter(AUTO_CATEGORIES)
    said = effective(ToolFiltering(auto_enable_threshold=1, category_filter=CategoryFilter(("docker",))), 2)
    assert said.filtering.category_filter == CategoryFilter(("docker",))


@pytest.mark.parametrize("mode", MODES)
def test_past_the_threshold_the_configured_mode_holds(mode: Any) -> None:
    policy = effective(ToolFiltering(mode=mode, auto_enable_threshold=1), 2)
    assert (policy.mode, policy.automatic) == (mode, mode != "auto"), "auto waits for no threshold"
    assert policy.needs_categories == (mode in ("category", "hybrid"))


def test_auto_is_on_unless_it_is_turned_off() -> None:
    assert effective(ToolFiltering(mode="auto"), 0).mode == "auto"
    assert effective(ToolFiltering(mode="auto", enabled=True), 0).mode == "auto"
    assert effective(ToolFiltering(mode="auto", enabled=False), 5_000).mode is None
    by_category = ToolFiltering(mode="auto", category_filter=CategoryFilter(("web",)))
    assert effective(by_category, 0).needs_categories


@pytest.mark.parametrize("own", ({"tools": NameFilter(deny=("x",))}, {"annotations": AnnotationFilter(read_only=True)}))
def test_what_is_said_of_single_entries_holds_unless_filtering_is_off_by_name(own: dict[str, Any]) -> None:
    assert effective(ToolFiltering(**own), 0).in_force
    assert effective(ToolFiltering(enabled=True, mode="prompt-based", **own), 0).in_force
    assert not effective(ToolFiltering(enabled=False, mode="category", **own), 5_000).in_force
    assert not effective(ToolFiltering(enabled=True), 0).in_force
