"""One stream: in order, resumed after any place, bounded, and read by one reader at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from hub_gateway.sessions.outbox import AT_ONCE_BYTES, Outbox, Sent, parse_event_id

pytestmark = pytest.mark.anyio
LONG_S = 60.0
WAIT_S = 10.0


async def _all(outbox: Outbox, after: int = 0) -> list[Sent]:
    return [sent async for fresh in outbox.read(after, idle_s=LONG_S) for sent in fresh]


def read_all(outbox: Outbox, after: int = 0) -> list[Sent]:
    """What a reader of an ended stream gets. It waits for nothing, so it needs no loop."""
    with pytest.raises(StopIteration) as done:
        _all(outbox, after).send(None)
    return done.value.value


MESSAGES = st.lists(st.binary(max_size=12), max_size=30)


@given(MESSAGES, st.integers(-3, 40))
def test_a_reader_resumes_after_any_place(messages: list[bytes], after: int) -> None:
    outbox = Outbox("s")
    for message in messages:
        outbox.put(message)
    outbox.end()
    wanted = [Sent(place, message) for place, message in enumerate(messages, 1) if place > after]
    assert read_all(outbox, after) == wanted
    assert outbox.lost == 0


@given(MESSAGES, st.integers(1, 6), st.integers(1, 40))
def test_when_full_the_oldest_go_and_the_newest_stays(messages: list[bytes], most: int, size_bytes: int) -> None:
    outbox = Outbox("s", max_messages=most, max_bytes=size_bytes)
    for message in messages:
        outbox.put(message)
        assert outbox.size_bytes <= max(size_bytes, len(message))
    outbox.end()
    kept = read_all(outbox)
    assert [sent.message for sent in kept] == messages[len(messages) - len(kept) :]
    assert [sent.place for sent in kept] == list(range(len(messages) - len(kept) + 1, len(messages) + 1))
    assert len(kept) <= most
    assert bool(kept) == bool(messages)
    assert outbox.lost == len(messages) - len(kept)


@pytest.mark.parametrize("read_here", (0, 1))
def test_what_a_reader_elsewhere_took_leaves_a_gap_and_nothing_is_lost_behind_it(read_here: int) -> None:
    outbox, place = Outbox("s"), 0

    def put(count: int) -> list[Sent]:
        nonlocal place
        sent = [Sent(place + turn, b"%d" % turn) for turn in range(1, count + 1)]
        place += count
        for each in sent:
            outbox.put(each.message)
        return sent

    kept = put(read_here)
    if kept:
        with pytest.raises(StopIteration):
            anext(outbox.read(idle_s=LONG_S)).send(None)
    for count in (3, 2):
        taken = [sent.message for sent in put(count)]
        assert outbox.take_unread() == taken
    behind = put(2)
    outbox.end()
    assert read_all(outbox, outbox.unread_from) == behind
    assert read_all(outbox) == kept + behind


def test_after_the_end_nothing_is_taken() -> None:
    outbox = Outbox("s")
    outbox.put(b"1")
    outbox.end()
    outbox.put(b"2")
    assert read_all(outbox) == [Sent(1, b"1")]
    assert read_all(outbox) == [Sent(1, b"1")], "an ended stream may be read again"


class Reader:
    """A reader as a task, whose messages can be waited for."""

    def __init__(self, messages: AsyncIterator[list[Sent]]) -> None:
        self._messages = messages

    async def next(self) -> list[Sent]:
        with anyio.fail_after(WAIT_S):
            return await anext(self._messages)

    async def ended(self) -> bool:
        with anyio.fail_after(WAIT_S), pytest.raises(StopAsyncIteration):
            await anext(self._messages)
        return True


@pytest.fixture
async def outbox() -> AsyncGenerator[Outbox]:
    made = Outbox("s")
    yield made
    made.end()


async def test_a_reader_hears_what_comes_while_it_waits(outbox: Outbox) -> None:
    reader = Reader(outbox.read(idle_s=LONG_S))
    asyncio.get_running_loop().call_soon(outbox.put, b"1")
    assert await reader.next() == [Sent(1, b"1")]
    asyncio.get_running_loop().call_soon(outbox.end)
    assert await reader.ended()


async def test_a_reader_gets_all_there_is_at_once(outbox: Outbox) -> None:
    reader = Reader(outbox.read(idle_s=LONG_S))
    for message in (b"1", b"2"):
        outbox.put(message)
    assert outbox.has_unread
    assert await reader.next() == [Sent(1, b"1"), Sent(2, b"2")]
    assert (outbox.has_unread, outbox.is_spent) == (False, False)
    outbox.put(b"3")
    outbox.end()
    assert not outbox.is_spent
    assert await reader.next() == [Sent(3, b"3")]
    assert outbox.is_spent, "so that the last message and the end can be one piece"
    assert await reader.ended()


async def test_a_reader_gets_no_more_at_once_than_it_can_write(outbox: Outbox) -> None:
    half = bytes(AT_ONCE_BYTES // 2)
    for _ in range(3):
        outbox.put(half)
    reader = Reader(outbox.read(idle_s=LONG_S))
    assert [sent.place for sent in await reader.next()] == [1, 2]
    assert [sent.place for sent in await reader.next()] == [3]


async def test_a_quiet_stream_says_so(outbox: Outbox) -> None:
    reader = Reader(outbox.read(idle_s=0.001))
    assert await reader.next() == []
    outbox.put(b"1")
    assert await reader.next() == [Sent(1, b"1")]


async def test_another_reader_takes_over(outbox: Outbox) -> None:
    outbox.put(b"1")
    first = Reader(outbox.read(idle_s=LONG_S))
    assert await first.next() == [Sent(1, b"1")]
    waiting = asyncio.ensure_future(first.ended())
    await checkpoint()
    second = Reader(outbox.read(outbox.unread_from, idle_s=LONG_S))
    asyncio.get_running_loop().call_soon(outbox.put, b"2")
    assert await second.next() == [Sent(2, b"2")]
    assert await waiting
    assert outbox.is_read


async def test_whether_somebody_reads_is_known(outbox: Outbox) -> None:
    assert not outbox.is_read
    reading = outbox.read(idle_s=LONG_S)
    outbox.put(b"1")
    await anext(reading)
    assert outbox.is_read
    task = asyncio.ensure_future(anext(reading))  # pyright: ignore[reportArgumentType]
    await checkpoint()
    assert outbox.is_read
    task.cancel()
    await asyncio.wait((task,))
    assert not outbox.is_read


async def test_what_was_read_is_let_go_where_nobody_can_come_back() -> None:
    outbox = Outbox("s", resumable=False)
    reader = Reader(outbox.read(idle_s=LONG_S))
    for place in range(1, 4):
        outbox.put(b"x" * 100)
        assert await reader.next() == [Sent(place, b"x" * 100)]
        assert outbox.size_bytes == 100, "the one that is being written"
    outbox.end()
    assert await reader.ended()
    assert outbox.size_bytes == 0


@given(st.text(st.characters(codec="ascii"), max_size=8), st.integers(0, 10**12))
def test_an_event_id_is_read_back(stream_id: str, place: int) -> None:
    assert parse_event_id(Outbox(stream_id).event_id(place)) == (stream_id, place)


@given(st.text(max_size=20))
def test_any_text_is_an_event_id_or_none(text: str) -> None:
    parsed = parse_event_id(text)
    assert parsed is None or text.startswith(f"{parsed[0]}-")


@pytest.mark.parametrize("text", ("", "x", "x-", "x-y", "x-1.5", "x-²", "x-" + "9" * 5000))
def test_what_is_no_event_id_of_ours(text: str) -> None:
    assert parse_event_id(text) is None
