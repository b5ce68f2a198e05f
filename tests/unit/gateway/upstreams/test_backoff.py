"""Pauses between attempts."""

from __future__ import annotations

import pytest

from hub_gateway.upstreams.backoff import Backoff


def test_pauses_double_up_to_the_limit_and_begin_again() -> None:
    backoff = Backoff(1.0, 30.0, lambda: 0.5)
    assert [backoff.next_s() for _ in range(7)] == pytest.approx([1, 2, 4, 8, 16, 30, 30])
    backoff.reset()
    assert backoff.next_s() == pytest.approx(1)


@pytest.mark.parametrize(("chance", "expected"), [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
def test_each_pause_is_spread_by_a_fifth(chance: float, expected: float) -> None:
    assert Backoff(1.0, 30.0, lambda: chance).next_s() == pytest.approx(expected)
