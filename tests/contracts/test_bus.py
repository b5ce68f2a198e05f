"""What every bus promises, asserted over each of them; then what the one over Redis does when Redis is away."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from hub_common.bus import Bus, BusUnavailable, LocalBus
from hub_common.shared_state import open_bus
from tests.support.redis_server import MovingAddress, RedisProcess, redis_process, redis_url  # noqa: F401
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

BOUND_S = 15.0

Open = Callable[[], Bus]


class Ear:
    """What was heard on one channel."""

    def __init__(self, bus: Bus, channel: str) -> None:
        self.heard: list[bytes] = []
        self._came = asyncio.Event()
        bus.subscribe(channel, self._hear)

    async def has(self, count: int) -> list[bytes]:
        """Wait for that many messages."""
        async with asyncio.timeout(BOUND_S):
            while len(self.heard) < count:
                self._came.clear()
                await self._came.wait()
        return self.heard

    def _hear(self, message: bytes) -> None:
        self.heard.append(message)
        self._came.set()


@pytest.fixture(params=["local", "redis"])
async def opener(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    """Opens buses that reach each other; closes them all."""
    url = request.getfixturevalue("redis_url") if request.param == "redis" else None
    opened: list[Bus] = []

    def open_another() -> Bus:
        opened.append(open_bus(url, tmp_path))
        return opened[-1]

    yield open_another
    for bus in opened:
        await bus.close()


@pytest.fixture
def channel() -> str:
    return f"test.{uuid.uuid4().hex}"


async def reaches(bus: Bus, channel: str, count: int, message: bytes = b"?") -> None:
    """Publish again and again until so many hear it."""
    await until(lambda: bus.publish(channel, message), lambda heard: heard == count, BOUND_S, f"{count} listen")


async def test_everybody_who_listens_hears(opener: Open, channel: str) -> None:
    one, other = opener(), opener()
    assert await one.publish(channel, b"too early") == 0
    ears = [Ear(one, channel), Ear(other, channel)]
    await reaches(one, channel, 2, b"ready")
    await other.publish(channel, b"\x00\xff")
    for ear in ears:
        async with asyncio.timeout(BOUND_S):
            while ear.heard[-1:] != [b"\x00\xff"]:
                await ear.has(len(ear.heard) + 1)
        assert set(ear.heard[:-1]) == {b"ready"}


async def test_channels_are_apart(opener: Open, channel: str) -> None:
    bus = opener()
    here, there = Ear(bus, channel), Ear(bus, channel + ".other")
    await reaches(bus, channel, 1, b"here")
    await reaches(bus, channel + ".other", 1, b"there")
    await here.has(1)
    await there.has(1)
    assert (set(here.heard), set(there.heard)) == ({b"here"}, {b"there"})


async def test_one_publisher_s_messages_come_in_order_whatever_their_length(opener: Open, channel: str) -> None:
    one, other = opener(), opener()
    ear = Ear(other, channel)
    await reaches(one, channel, 1)
    await ear.has(1)
    ear.heard.clear()
    sent = [b"%d" % n + b"x" * (n * 997 % 60_000) for n in range(300)]
    for message in sent:
        await one.publish(channel, message)
    assert await ear.has(300) == sent


async def test_many_channels_are_heard_at_once(opener: Open, channel: str) -> None:
    one, other = opener(), opener()
    ears = [Ear(one, f"{channel}-{number}") for number in range(5)]
    for number, ear in enumerate(ears):
        await reaches(other, f"{channel}-{number}", 1)
        assert await ear.has(1)


async def test_a_closed_bus_hears_nothing(opener: Open, channel: str) -> None:
    one, other = opener(), opener()
    Ear(one, channel)
    await reaches(other, channel, 1)
    await one.close()
    await one.close()
    await reaches(other, channel, 0)


def test_another_place_is_another_bus(tmp_path: Path) -> None:
    async def said() -> int:
        one, other = LocalBus(tmp_path / "a"), LocalBus(tmp_path / "b")
        one.subscribe("c", lambda _: None)
        return await other.publish("c", b"")

    assert asyncio.run(said()) == 0


async def test_a_listener_comes_back_after_redis_was_away(channel: str, tmp_path: Path) -> None:
    with redis_process() as server:
        bus = open_bus(server.url, tmp_path)
        ear = Ear(bus, channel)
        await reaches(bus, channel, 1)
        await ear.has(1)  # Redis counts who is to be told before it tells
        server.kill()
        with pytest.raises(BusUnavailable):
            await bus.publish(channel, b"lost")
        server.start()
        await until(lambda: _published(bus, channel), lambda heard: heard == 1, BOUND_S, "it listens again")
        await ear.has(2)
        assert b"lost" not in ear.heard
        await bus.close()


async def test_who_stayed_with_a_primary_that_became_a_replica_follows_to_the_new_one(
    channel: str, tmp_path: Path
) -> None:
    with redis_process() as first, redis_process() as second:
        async with MovingAddress(first) as address:
            stayed = open_bus(address.url, tmp_path)
            Ear(stayed, channel)
            await reaches(stayed, channel, 1)
            address.fail_over(second)
            late = open_bus(address.url, tmp_path)
            Ear(late, channel)
            await reaches(late, channel, 1)
            for bus in (stayed, late):
                await until(lambda bus=bus: _published(bus, channel), lambda heard: heard == 2, BOUND_S, "both listen")
            await stayed.close()
            await late.close()


async def test_a_frozen_redis_costs_one_deadline_and_then_nothing(channel: str, tmp_path: Path) -> None:
    with redis_process() as server:
        bus = open_bus(server.url, tmp_path)
        await bus.publish(channel, b"1")
        server.freeze()
        async with asyncio.timeout(BOUND_S):
            for _ in range(100):  # would take minutes if each waited
                with pytest.raises(BusUnavailable):
                    await bus.publish(channel, b"2")
        await _thawed(server, bus)


async def _thawed(server: RedisProcess, bus: Bus) -> None:
    server.thaw()
    await bus.close()


@pytest.mark.parametrize("url", ["http://user:hunter22@host", "redis://:hunter22/x@host:1", "nonsense hunter22"])
async def test_a_bad_redis_url_is_not_repeated(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no URL of a Redis") as caught:
        open_bus(url, tmp_path)
    assert "hunter22" not in str(caught.value)


async def _published(bus: Bus, channel: str) -> int:
    try:
        return await bus.publish(channel, b"again")
    except BusUnavailable:
        return -1
