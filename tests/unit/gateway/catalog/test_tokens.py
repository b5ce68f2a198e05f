"""The estimate is near what a real tokenizer counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_gateway.catalog.tokens import estimate, more_than

COUNTED = (
    ("", 0),
    ("hello world", 2),
    ("Lists the notifications of the signed-in user.", 9),
    ("github__list_notifications(all?, since?, participating?, per_page?): List notifications for the user.", 19),
    (
        '{"type":"object","properties":{"owner":{"type":"string","description":"Account owner"}},"required":["owner"]}',
        24,
    ),
    ("使用必应搜索指定的关键词，并返回搜索结果列表", 12),
    ("2025-11-25T10:00:00Z", 13),
)
"""Texts with their length in tokens of o200k_base."""


@pytest.mark.parametrize(("text", "tokens"), COUNTED)
def test_an_estimate_is_near(text: str, tokens: int) -> None:
    assert abs(estimate(text) - tokens) <= max(4, 0.25 * tokens)


def test_the_estimates_are_near_together() -> None:
    total = sum(tokens for _, tokens in COUNTED)
    assert abs(sum(estimate(text) for text, _ in COUNTED) - total) <= 0.15 * total


@given(st.text(max_size=200), st.text(max_size=200))
def test_more_text_never_costs_less_than_a_token_less(one: str, other: str) -> None:
    assert estimate(one) >= 0
    assert estimate(f"{one} {other}") >= estimate(one) - 1


@given(st.lists(st.text(max_size=50), max_size=8), st.integers(0, 100))
def test_more_than_a_budget(texts: list[str], budget: int) -> None:
    assert more_than(budget, texts) == (sum(map(estimate, texts)) > budget)
