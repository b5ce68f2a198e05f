"""A POST on its socket: in however many pieces it comes and whatever comes before and behind it."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from tests.unit.gateway.frontends.conftest import Front

pytestmark = pytest.mark.anyio
TIMEOUT_S = 10.0


class Socket:
    """One connection to the endpoint, in a session."""

    def __init__(
        self, front: Front, session_id: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._host = urlsplit(front.url).netloc
        self._session_id = session_id
        self._reader = reader
        self._writer = writer

    def ping(self, number: int, *, extra: str = "", chunked: bool = False) -> bytes:
        """A request as it goes over the wire."""
        body = json.dumps({"jsonrpc": "2.0", "id": number, "method": "ping"}).encode()
        length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
        if chunked:
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        head = (
            f"POST /mcp HTTP/1.1\r\nHost: {self._host}\r\n{length}\r\nMcp-Session-Id: {self._session_id}\r\n{extra}\r\n"
        )
        return head.encode() + body

    async def write(self, *pieces: bytes) -> None:
        """Send each piece as a segment of its own."""
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()
            await asyncio.sleep(0)

    async def answer(self) -> tuple[int, int | None]:
        """Status and id of the next answer."""
        async with asyncio.timeout(TIMEOUT_S):
            head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            body = await self._reader.readexactly(length)
        return int(head.split(b" ")[1]), json.loads(body)["id"] if body.startswith(b"{") else None

    async def ended(self) -> bool:
        """Whether the gateway closes the socket."""
        async with asyncio.timeout(TIMEOUT_S):
            return await self._reader.read(1) == b""


@asynccontextmanager
async def connected(front: Front) -> AsyncGenerator[Socket]:
    session_id = (await front.session()).session_id or ""
    parts = urlsplit(front.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield Socket(front, session_id, reader, writer)
    finally:
        writer.close()


async def test_a_post_may_come_in_any_pieces(front: Front) -> None:
    async with connected(front) as socket:
        request = socket.ping(1)
        body_at = request.index(b"\r\n\r\n") + 4
        for number, cuts in enumerate(
            ((4,), (30,), (body_at - 2,), (body_at,), (body_at + 5,), (body_at, body_at + 9)), 10
        ):
            request = socket.ping(number)
            places = [0, *cuts, len(request)]
            await socket.write(*(request[start:stop] for start, stop in itertools.pairwise(places)))
            assert await socket.answer() == (200, number)


async def test_pipelined_requests_are_answered_in_their_order(front: Front) -> None:
    async with connected(front) as socket:
        await socket.write(b"".join(map(socket.ping, range(5))))
        assert [await socket.answer() for _ in range(5)] == [(200, number) for number in range(5)]
        cut = socket.ping(5)
        await socket.write(cut[:-7], cut[-7:] + socket.ping(6) + socket.ping(7, chunked=True))
        assert [await socket.answer() for _ in range(3)] == [(200, 5), (200, 6), (200, 7)]


async def test_one_socket_carries_requests_of_every_shape(front: Front) -> None:
    async with connected(front) as socket:
        for number, request in enumerate(
            (
                socket.ping(0),
                socket.ping(1, chunked=True),
                socket.ping(2),
                socket.ping(3, extra="X-Twice: a\r\nX-Twice: b\r\n"),
                socket.ping(4, extra="Connection: keep-alive\r\n"),
            )
        ):
            await socket.write(request)
            assert await socket.answer() == (200, number)
        await socket.write(socket.ping(5, extra="Connection: close\r\n"))
        assert await socket.answer() == (200, 5)
        assert await socket.ended()


@pytest.mark.parametrize(
    "extra", ("Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "A B: c\r\n", "A: b\r\n c\r\n")
)
async def test_a_head_that_can_be_read_in_two_ways_is_refused(front: Front, extra: str) -> None:
    async with connected(front) as socket:
        await socket.write(socket.ping(1, extra=extra))
        assert await socket.answer() == (400, None)
        assert await socket.ended()
