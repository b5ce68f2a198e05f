"""Replicas that talk: told things, asked things, and what becomes of a line whose other end is gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from hub_common.shared_state import open_bus, open_store
from hub_common.tasks import Tasks
from hub_gateway.satellites import lines as module
from hub_gateway.satellites.letters import PARCELS, PeerGone
from hub_gateway.satellites.lines import Say
from hub_gateway.satellites.peers import Peers
from tests.support.redis_server import redis_process
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

BOUND_S = 15.0


class Replica:
    """One process's way to the others."""

    def __init__(self, url: str | None, directory: Path) -> None:
        self.bus = open_bus(url, directory)
        self.store = open_store(url, directory)
        self.peers = Peers(self.bus, self.store, time.monotonic)
        self.told: list[tuple[str, bytes]] = []
        self.peers.when_told("news", lambda sender, body: self.told.append((sender, body)))
        self.tasks = Tasks("replica")
        self.tasks.spawn(self.peers.run(), "peers")

    async def end(self) -> None:
        """Gone in good order."""
        await self.peers.close()
        await self.crash()

    async def crash(self) -> None:
        """Gone without a goodbye."""
        await self.tasks.close()
        await self.bus.close()
        await self.store.close()


@pytest.fixture(params=["local", "redis"])
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[tuple[Replica, Replica]]:
    """Two replicas that know each other."""
    if request.param == "local":
        async for both in _pair(None, tmp_path):
            yield both
    else:
        with redis_process() as server:
            async for both in _pair(server.url, tmp_path):
                yield both


async def _pair(url: str | None, directory: Path) -> AsyncGenerator[tuple[Replica, Replica]]:
    one, other = Replica(url, directory), Replica(url, directory)
    await seen(lambda: not one.peers.alone and not other.peers.alone, "they know each other")
    yield one, other
    await one.end()
    await other.end()


async def seen(true: Callable[[], bool], what: str) -> None:
    """Wait until this is so."""

    async def look() -> bool:
        return true()

    await until(look, bool, BOUND_S, what)


async def parts_of(asking: AsyncGenerator[bytes]) -> list[bytes]:
    """All parts of an answer."""
    async with asyncio.timeout(BOUND_S), aclosing(asking):
        return [part async for part in asking]


def counting(to: int, size: int = 0) -> Callable[[bytes, Say], Awaitable[None]]:
    """Answers with so many numbered parts of some size."""

    async def answer(body: bytes, say: Say) -> None:
        for number in range(to):
            say(body + b"%d" % number + b"x" * size)

    return answer


async def test_what_is_told_comes_in_order_to_all_or_to_one(pair: tuple[Replica, Replica]) -> None:
    one, other = pair
    for number in range(100):
        one.peers.tell("news", b"%d" % number, other.peers.id if number % 2 else None)
    await one.peers.delivered()
    await seen(lambda: len(other.told) == 100, "all of it")
    assert other.told == [(one.peers.id, b"%d" % number) for number in range(100)]
    assert one.told == [], "nobody tells itself"


async def test_a_replica_that_left_is_forgotten_and_what_is_told_to_it_is_lost(pair: tuple[Replica, Replica]) -> None:
    one, other = pair
    await other.end()
    await seen(lambda: one.peers.alone, "alone again")
    lost: list[bool] = []
    one.peers.tell("news", b"", other.peers.id, lost=lambda: lost.append(True))
    await seen(lambda: lost == [True], "told that nobody heard")


async def test_alone_nothing_is_told(tmp_path: Path) -> None:
    replica = Replica(None, tmp_path)
    replica.peers.tell("news", b"", lost=lambda: pytest.fail("nothing was tried"))
    await replica.peers.delivered()
    await replica.end()


async def test_an_answer_comes_in_parts(pair: tuple[Replica, Replica]) -> None:
    one, other = pair
    other.peers.when_asked("count", counting(300))
    answers = await asyncio.gather(
        *(parts_of(one.peers.ask(other.peers.id, "count", b"%d-" % number)) for number in range(5))
    )
    assert answers == [[b"%d-%d" % (number, part) for part in range(300)] for number in range(5)]


async def test_long_parts_and_questions_come_whole(pair: tuple[Replica, Replica]) -> None:
    one, other = pair
    other.peers.when_asked("count", counting(3, 3 << 20))
    question = b"q" * (1 << 20)
    answer = await parts_of(one.peers.ask(other.peers.id, "count", question))
    assert answer == [question + b"%d" % number + b"x" * (3 << 20) for number in range(3)]
    assert await one.store.count(PARCELS) == 0, "nothing is left behind"


async def test_nobody_answers_for_a_replica_that_is_gone(pair: tuple[Replica, Replica]) -> None:
    one, _ = pair
    for replica in ("00000000", one.peers.id):
        with pytest.raises(PeerGone, match="gone"):
            await parts_of(one.peers.ask(replica, "count", b""))


async def test_what_the_other_does_not_know_or_cannot_do_is_said(pair: tuple[Replica, Replica]) -> None:
    one, other = pair

    async def fails(_body: bytes, say: Say) -> None:
        say(b"so far")
        raise ValueError("secret")

    other.peers.when_asked("fail", fails)
    with pytest.raises(PeerGone, match="does not know"):
        await parts_of(one.peers.ask(other.peers.id, "nonsense", b""))
    with pytest.raises(PeerGone, match="could not answer") as caught:
        await parts_of(one.peers.ask(other.peers.id, "fail", b""))
    assert "secret" not in str(caught.value)


class Forever:
    """An answer that does not end, and whether it was cancelled."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()

    async def __call__(self, body: bytes, say: Say) -> None:
        say(b"first")
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


async def test_whoever_asks_may_stop(pair: tuple[Replica, Replica]) -> None:
    one, other = pair
    forever = Forever()
    other.peers.when_asked("forever", forever)
    async with aclosing(one.peers.ask(other.peers.id, "forever", b"")) as asking:
        assert await anext(asking) == b"first"
    async with asyncio.timeout(BOUND_S):
        await forever.cancelled.wait()


async def test_a_line_lives_while_nothing_is_said(
    pair: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ALIVE_S", 0.05)
    monkeypatch.setattr(module, "SILENCE_S", 1.0)
    one, other = pair
    release = asyncio.Event()

    async def slow(_body: bytes, say: Say) -> None:
        await release.wait()
        say(b"at last")

    other.peers.when_asked("slow", slow)
    asking = asyncio.ensure_future(parts_of(one.peers.ask(other.peers.id, "slow", b"")))
    await asyncio.wait((asking,), timeout=2.5)
    assert not asking.done(), "longer than any silence that is borne"
    release.set()
    assert await asking == [b"at last"]


async def test_a_line_to_a_replica_that_dies_ends(
    pair: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SILENCE_S", 0.5)
    one, other = pair
    forever = Forever()
    other.peers.when_asked("forever", forever)
    async with aclosing(one.peers.ask(other.peers.id, "forever", b"")) as asking:
        assert await anext(asking) == b"first"
        await other.crash()
        await other.peers.close()
        with pytest.raises(PeerGone):
            async with asyncio.timeout(BOUND_S):
                await anext(asking)


async def test_an_answer_nobody_waits_for_ends(pair: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ALIVE_S", 0.05)
    one, other = pair
    forever = Forever()
    other.peers.when_asked("forever", forever)
    asking = one.peers.ask(other.peers.id, "forever", b"")
    assert await anext(asking) == b"first"
    await one.crash()
    async with asyncio.timeout(BOUND_S):
        await forever.cancelled.wait()
    await asking.aclose()


async def test_what_cannot_be_used_makes_nobody_deaf(pair: tuple[Replica, Replica]) -> None:
    one, other = pair

    def broken(_: str, body: bytes) -> None:
        body.decode()

    other.peers.when_told("broken", broken)
    one.peers.tell("broken", b"\xff", other.peers.id)
    one.peers.tell("stop", b"no number", other.peers.id)
    one.peers.tell("news", b"later", other.peers.id)
    await seen(lambda: other.told == [(one.peers.id, b"later")], "it hears the next thing")


async def test_a_replica_lives_until_it_does_not(pair: tuple[Replica, Replica]) -> None:
    one, other = pair
    assert await one.peers.lives(other.peers.id)
    await other.end()
    assert not await one.peers.lives(other.peers.id)


async def test_what_the_bus_repeats_is_heard_once(pair: tuple[Replica, Replica]) -> None:
    """It repeats what it was not told in time to have published, and that may be long answered by then."""
    one, other = pair
    published: list[bytes] = []
    asked: list[bytes] = []

    async def answer(body: bytes, say: Say) -> None:
        asked.append(body)
        say(b"done")

    other.peers.when_asked("do", answer)
    one.bus.subscribe(other.peers.id, published.append)

    async def overhears() -> bool:
        await one.bus.publish(other.peers.id, b"")
        return bool(published)

    await until(overhears, bool, BOUND_S, "one hears what it publishes for the other")
    published.clear()
    assert await parts_of(one.peers.ask(other.peers.id, "do", b"it")) == [b"done"]
    one.peers.tell("news", b"first", other.peers.id)
    one.peers.tell("news", b"second", other.peers.id)
    await seen(lambda: len(other.told) == 2, "both")
    for raw in tuple(published):  # it hears these too
        await one.bus.publish(other.peers.id, raw)
    one.peers.tell("news", b"last", other.peers.id)
    await seen(lambda: (one.peers.id, b"last") in other.told, "what came after")
    assert asked == [b"it"]
    assert [body for _, body in other.told] == [b"first", b"second", b"last"]
