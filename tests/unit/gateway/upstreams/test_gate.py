"""The in-flight limit."""

from __future__ import annotations

import asyncio

import pytest

from hub_gateway.errors import UpstreamBusy
from hub_gateway.upstreams.gate import Gate

pytestmark = pytest.mark.anyio


async def test_who_finds_no_room_goes_in_when_another_leaves_and_in_turn() -> None:
    gate, order = Gate(2, 10, 2), list[int]()
    assert gate.enter()
    assert gate.enter()
    assert not gate.enter()

    async def come(number: int) -> None:
        await gate.wait("a")
        order.append(number)

    async with asyncio.TaskGroup() as group:
        group.create_task(come(1))
        group.create_task(come(2))
        await asyncio.sleep(0)
        assert not gate.enter()
        gate.leave()
        gate.leave()
    assert (order, gate.inside) == ([1, 2], 2)
    gate.leave()
    gate.leave()
    assert gate.inside == 0
    assert gate.enter()


async def test_a_full_queue_refuses_at_once() -> None:
    gate = Gate(1, 10, 1)
    assert gate.enter()
    waiting = asyncio.ensure_future(gate.wait("a"))
    await asyncio.sleep(0)
    with pytest.raises(UpstreamBusy, match="1 are waiting"):
        await gate.wait("a")
    gate.leave()
    await waiting


async def test_a_turn_that_does_not_come_is_refused_and_forgotten() -> None:
    gate = Gate(1, 0.01, 1)
    assert gate.enter()
    with pytest.raises(UpstreamBusy, match="none ended"):
        await gate.wait("a")
    gate.leave()
    assert gate.inside == 0


async def test_a_cancelled_turn_goes_to_the_next_in_line() -> None:
    gate = Gate(2, 10, 2)
    assert gate.enter()
    assert gate.enter()
    first, second = asyncio.ensure_future(gate.wait("a")), asyncio.ensure_future(gate.wait("a"))
    await asyncio.sleep(0)
    gate.leave()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await asyncio.wait_for(second, 5)
    gate.leave()
    gate.leave()
    assert gate.inside == 0


async def test_another_limit_holds_at_once_for_those_who_wait() -> None:
    gate, order = Gate(1, 10, 10), list[int]()
    assert gate.enter()

    async def come(number: int) -> None:
        await gate.wait("a")
        order.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(1, 6):
            group.create_task(come(number))
        await asyncio.sleep(0)
        gate.limit = 3
        await asyncio.sleep(0)
        assert (order, gate.inside, gate.waiting) == ([1, 2], 3, 3)
        gate.limit = 2
        gate.leave()
        await asyncio.sleep(0)
        assert (order, gate.inside) == ([1, 2], 2), "a place is gone"
        gate.leave()
        await asyncio.sleep(0)
        assert (order, gate.inside) == ([1, 2, 3], 2)
        gate.limit = 10
    assert (order, gate.inside, gate.waiting) == ([1, 2, 3, 4, 5], 4, 0)
    assert gate.enter()


async def test_clients_take_turns() -> None:
    gate, order = Gate(1, 10, 10), list[str]()
    assert gate.enter()

    async def come(client: str, name: str) -> None:
        await gate.wait(client)
        order.append(name)
        gate.leave()

    async with asyncio.TaskGroup() as group:
        for client, name in (("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("c", "c1"), ("c", "c2")):
            group.create_task(come(client, name))
        await asyncio.sleep(0)
        assert gate.waiting == 6
        gate.leave()
    assert order == ["a1", "b1", "c1", "a2", "c2", "a3"]
    assert (gate.inside, gate.waiting) == (0, 0)


async def test_a_full_queue_gives_a_place_of_the_longest_line_to_another_client() -> None:
    gate = Gate(1, 10, 3)
    assert gate.enter()
    many = [asyncio.ensure_future(gate.wait("many")) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(UpstreamBusy, match="3 are waiting"):
        await gate.wait("many")
    few = [asyncio.ensure_future(gate.wait("few"))]
    await asyncio.sleep(0)
    with pytest.raises(UpstreamBusy, match="3 are waiting"):
        await asyncio.wait_for(many[2], 5)
    with pytest.raises(UpstreamBusy, match="3 are waiting"):
        await gate.wait("few")  # its line would be as long as the longest
    gate.leave()
    await asyncio.wait_for(many[0], 5)
    gate.leave()
    await asyncio.wait_for(few[0], 5)
    assert (gate.inside, gate.waiting) == (1, 1)
    many[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await many[1]
    assert gate.waiting == 0
