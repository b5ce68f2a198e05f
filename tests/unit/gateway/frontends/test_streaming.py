"""A call's messages as a stream: when they are written, and what becomes of them where nobody reads."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from hub_common.tasks import Tasks
from hub_gateway.frontends import streaming
from hub_gateway.frontends.posts import Post
from hub_gateway.frontends.streaming import Streaming
from hub_gateway.sessions.session import Session
from hub_gateway.wire.meta import Caller
from tests.unit.gateway.frontends.test_posts import HEAD, TIMEOUT_S, served

pytestmark = pytest.mark.anyio
LARGE = b"x" * 65_536


@asynccontextmanager
async def streamed(
    session: Session | None, write: Callable[[Streaming, Post], Awaitable[None]]
) -> AsyncGenerator[asyncio.StreamReader]:
    """The body of a POST that is answered by what is written."""
    tasks = Tasks("streams")

    async def answered(post: Post) -> None:
        await write(streaming.begin(post, session, b"1", tasks), post)

    async with served(answered) as (_, port):
        asking = socket.socket()
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        asking.connect(("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=asking, limit=4_096)
        writer.write(HEAD + b"{}")
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await reader.readuntil(b"\r\n\r\n")
                yield reader
        finally:
            writer.close()
            await tasks.close()


async def chunk(reader: asyncio.StreamReader) -> bytes:
    size = int(await reader.readuntil(b"\r\n"), 16)
    return (await reader.readexactly(size + 2))[:-2]


def session() -> Session:
    return Session("s", "2025-11-25", Caller(), {})


async def test_what_comes_together_with_the_answer_goes_out_with_it() -> None:
    async def write(stream: Streaming, _post: Post) -> None:
        stream.put(b"1")
        stream.put(b"2")
        await asyncio.sleep(0)  # the answer is there in the same round
        await stream.end(b"3")

    async with streamed(None, write) as reader:
        assert await chunk(reader) == b"data: 1\r\n\r\ndata: 2\r\n\r\ndata: 3\r\n\r\n"
        assert await chunk(reader) == b""


async def test_what_comes_before_the_answer_is_not_kept_for_it() -> None:
    heard = asyncio.Event()

    async def write(stream: Streaming, _post: Post) -> None:
        stream.put(b"1")
        await heard.wait()
        await stream.end(b"")

    async with streamed(session(), write) as reader:
        first, said, _ = (await chunk(reader)).split(b"\r\n\r\n")
        assert (first.split(b"\r\n")[1], said.split(b"\r\n")[1]) == (b"data: ", b"data: 1")
        heard.set()
        assert await chunk(reader) == b""


async def test_a_client_that_does_not_keep_up_is_waited_for() -> None:
    blocked = asyncio.Event()

    async def write(stream: Streaming, post: Post) -> None:
        for number in range(60):
            stream.put(b"%d" % number + LARGE)
            await asyncio.sleep(0.001)
        if post.is_blocked:
            blocked.set()
        await stream.end(b"end")

    async with streamed(None, write) as reader:
        await blocked.wait()
        body = b""
        while piece := await chunk(reader):
            body += piece
    said = [event.removeprefix(b"data: ").removesuffix(LARGE) for event in body.split(b"\r\n\r\n")[:-1]]
    assert said == [*(b"%d" % number for number in range(60)), b"end"]


async def test_a_stream_that_is_read_elsewhere_ends_here() -> None:
    taken = asyncio.Event()
    one = session()
    rest: list[bytes] = []

    async def write(stream: Streaming, _post: Post) -> None:
        stream.put(b"1")
        await taken.wait()
        stream.put(b"2")
        await stream.end(b"3")

    async with streamed(one, write) as reader:
        stream_id = (await chunk(reader)).split(b"\r\n")[0].removeprefix(b"id: ").rpartition(b"-")[0].decode()
        outbox = one.stream(stream_id)
        assert outbox is not None
        elsewhere = outbox.reader(1)
        taken.set()
        assert await chunk(reader) == b""
        rest += [sent.message for sent in elsewhere.take()]
    assert rest == [b"2", b"3"]


async def test_what_nobody_is_there_to_read_waits() -> None:
    one = session()
    told = asyncio.Event()

    async def write(stream: Streaming, _post: Post) -> None:
        stream.put(b"1")
        await asyncio.sleep(0.01)
        stream.follow()
        await asyncio.sleep(0.01)
        stream.stop()
        await asyncio.sleep(0.01)
        stream.put(b"2")
        assert not stream.is_read
        await stream.end(b"3")
        told.set()

    async with streamed(one, write) as reader:
        stream_id = (await chunk(reader)).split(b"\r\n")[0].removeprefix(b"id: ").rpartition(b"-")[0].decode()
        await told.wait()
        outbox = one.stream(stream_id)
        assert outbox is not None
        assert [sent.message for sent in outbox.reader(outbox.unread_from).take()] == [b"2", b"3"]
