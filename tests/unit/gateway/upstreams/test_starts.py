"""Processes start in turns, and none that hangs holds up the others."""

from __future__ import annotations

import asyncio

import pytest

from hub_gateway.upstreams.starts import Starts

pytestmark = pytest.mark.anyio


async def test_so_many_start_at_a_time_in_their_order() -> None:
    starts = Starts(width=2)
    begun: list[int] = []
    ends = [asyncio.Event() for _ in range(5)]

    async def start(number: int) -> None:
        async with starts.turn():
            begun.append(number)
            await ends[number].wait()

    tasks = [asyncio.ensure_future(start(number)) for number in range(5)]
    await asyncio.sleep(0)
    assert begun == [0, 1]
    ends[1].set()
    await asyncio.wait([tasks[1]])
    await asyncio.sleep(0)
    assert begun == [0, 1, 2]
    tasks[3].cancel()  # one that waits and is given up takes no place
    for end in ends:
        end.set()
    await asyncio.wait(tasks)
    assert begun == [0, 1, 2, 4]


async def test_one_that_takes_long_holds_its_place_no_longer_and_gives_it_back_once() -> None:
    starts = Starts(width=1, longest_s=0.01)
    async with starts.turn(), starts.turn():
        pass  # the second came in while the first still starts
    patient = Starts(width=1)
    async with patient.turn():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), patient.turn():
                pass
    first = starts.turn()
    await first.__aenter__()
    with pytest.raises(ValueError):
        async with starts.turn():
            raise ValueError
    await first.__aexit__(None, None, None)
    async with starts.turn():
        assert starts._places.locked(), "there is one place, however often it was given back"  # pyright: ignore[reportPrivateUsage]
