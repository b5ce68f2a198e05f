from __future__ import annotations

import asyncio

import pytest

from hub_categorizer.llm_counts import SAMPLES, Counts
from hub_categorizer.pace import Pace


def test_starts_are_evenly_apart_and_an_idle_time_saves_up_nothing() -> None:
    now = [100.0]
    pace = Pace(4.0, lambda: now[0])
    assert [pace.reserve() for _ in range(4)] == [0.0, 0.25, 0.5, 0.75]
    now[0] = 100.5
    assert pace.reserve() == 0.5
    now[0] = 900.0
    assert [pace.reserve() for _ in range(3)] == [0.0, 0.25, 0.5]


@pytest.mark.anyio
async def test_who_is_not_first_waits_for_a_turn() -> None:
    pace = Pace(0.001, lambda: 0.0)
    await pace.turn()
    second = asyncio.ensure_future(pace.turn())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not second.done()
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second


def test_a_rate_of_none_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="positive"):
        Pace(0.0)


def test_percentiles_are_of_the_last_ones() -> None:
    counts = Counts()
    assert counts.latency is None
    counts.took(5.0)
    assert counts.latency == (5.0, 5.0, 5.0, 5.0, 1)
    for number in range(SAMPLES):
        counts.took((number + 1) / SAMPLES)
    latency = counts.latency
    assert latency is not None
    assert latency[1:] == (0.5, 0.95, 0.99, SAMPLES)
    assert latency.average_s == pytest.approx(0.5005)
