from __future__ import annotations

import asyncio
from contextlib import aclosing
from functools import partial

import pytest

from hub_categorizer.queue import Queue, QueueFull

pytestmark = pytest.mark.anyio


class Gate:
    """Jobs that wait to be let go, and how many run."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0
        self.started: list[int] = []
        self.go = asyncio.Event()

    async def job(self, number: int) -> int:
        self.started.append(number)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.go.wait()
            return number
        finally:
            self.running -= 1


async def collect(queue: Queue, gate: Gate, numbers: range) -> list[int]:
    async with aclosing(queue.results([partial(gate.job, number) for number in numbers])) as results:
        return [result async for result in results]


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_bound_is_over_all_callers() -> None:
    queue, gate = Queue(3), Gate()
    both = asyncio.gather(collect(queue, gate, range(5)), collect(queue, gate, range(10, 15)))
    await settle()
    assert gate.running == 3
    gate.go.set()
    first, second = await asyncio.wait_for(both, 10)
    assert (sorted(first), sorted(second)) == (list(range(5)), list(range(10, 15)))
    assert gate.most == 3


async def test_jobs_start_in_their_order_and_results_come_as_they_are_done() -> None:
    async def after(event: asyncio.Event, result: str) -> str:
        await event.wait()
        return result

    slow, fast = asyncio.Event(), asyncio.Event()
    fast.set()
    jobs = [partial(after, slow, "slow"), partial(after, fast, "fast")]
    async with aclosing(Queue(2).results(jobs)) as results:
        assert await anext(results) == "fast"
        slow.set()
        assert await anext(results) == "slow"


async def test_a_failure_ends_the_rest() -> None:
    gate = Gate()

    async def fail() -> int:
        raise ValueError("boom")

    async with aclosing(Queue(2).results([partial(gate.job, 1), fail, partial(gate.job, 2)])) as results:
        with pytest.raises(ValueError, match="boom"):
            await anext(results)
    assert gate.running == 0
    assert gate.started == [1]


async def test_closing_cancels_what_runs() -> None:
    gate = Gate()
    results = Queue(2).results([partial(gate.job, number) for number in range(5)])
    waiting = asyncio.ensure_future(anext(results))
    await settle()
    assert gate.running == 2
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await results.aclose()
    assert gate.running == 0


async def test_no_jobs_no_results() -> None:
    assert await collect(Queue(1), Gate(), range(0)) == []


async def test_depth_is_what_waits_and_processed_what_had_its_turn() -> None:
    queue, gate = Queue(2), Gate()
    running = asyncio.ensure_future(collect(queue, gate, range(5)))
    await settle()
    assert (queue.depth, queue.processed) == (3, 2)
    gate.go.set()
    await asyncio.wait_for(running, 10)
    assert (queue.depth, queue.processed) == (0, 5)


async def test_what_there_is_no_room_for_is_left_out_and_said() -> None:
    queue, gate = Queue(1, 3), Gate()
    gate.go.set()
    results: list[int] = []
    with pytest.raises(QueueFull) as full:
        async for result in queue.results([partial(gate.job, number) for number in range(5)]):
            results.append(result)  # noqa: PERF401 - it ends with an exception
    assert (results, full.value.left_out, queue.depth) == ([0, 1, 2], 2, 0)


async def test_a_full_queue_takes_nothing_until_there_is_room() -> None:
    queue, gate = Queue(1, 2), Gate()
    first = asyncio.ensure_future(collect(queue, gate, range(3)))
    await settle()
    # One of the two that were taken runs, so one may wait with it.
    assert (queue.depth, gate.started) == (1, [0])
    second = asyncio.ensure_future(collect(queue, gate, range(10, 12)))
    await settle()
    assert queue.depth == 2
    gate.go.set()
    for caller in (first, second):
        with pytest.raises(QueueFull):
            await asyncio.wait_for(caller, 10)
    assert sorted(gate.started) == [0, 1, 10]
    assert queue.depth == 0


async def test_leaving_gives_back_the_room() -> None:
    queue, gate = Queue(1), Gate()
    results = queue.results([partial(gate.job, number) for number in range(5)])
    waiting = asyncio.ensure_future(anext(results))
    await settle()
    assert queue.depth == 4
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await results.aclose()
    assert queue.depth == 0
