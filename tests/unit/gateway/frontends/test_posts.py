"""A POST on its socket: in however many pieces it comes and whatever comes before and behind it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast
from urllib.parse import urlsplit

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Send

from hub_common.tasks import Tasks
from hub_gateway.backlog import LONG_BYTES, backlog
from hub_gateway.frontends.parsed import HEAD_LIMIT_BYTES
from hub_gateway.frontends.posts import Answered, Link, Post, link
from tests.support.waiting import until
from tests.unit.gateway.frontends.conftest import Front

pytestmark = pytest.mark.anyio
TIMEOUT_S = 10.0
UPGRADE = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAA\r\n"
"""As Java's client sends it with every request, until it knows better."""


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
            try:
                return await self._reader.read(1) == b""
            except ConnectionError:
                return True


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
    async with connected(front) as client:
        request = client.ping(1)
        body_at = request.index(b"\r\n\r\n") + 4
        for number, cuts in enumerate(
            ((4,), (30,), (body_at - 2,), (body_at,), (body_at + 5,), (body_at, body_at + 9)), 10
        ):
            request = client.ping(number)
            places = [0, *cuts, len(request)]
            await client.write(*(request[start:stop] for start, stop in itertools.pairwise(places)))
            assert await client.answer() == (200, number)


async def test_pipelined_requests_are_answered_in_their_order(front: Front) -> None:
    async with connected(front) as client:
        await client.write(b"".join(map(client.ping, range(5))))
        assert [await client.answer() for _ in range(5)] == [(200, number) for number in range(5)]
        cut = client.ping(5)
        await client.write(cut[:-7], cut[-7:] + client.ping(6) + client.ping(7, chunked=True))
        assert [await client.answer() for _ in range(3)] == [(200, 5), (200, 6), (200, 7)]


async def test_one_socket_carries_requests_of_every_shape(front: Front) -> None:
    async with connected(front) as client:
        for number, request in enumerate(
            (
                client.ping(0),
                client.ping(1, chunked=True),
                client.ping(2),
                client.ping(3, extra="X-Twice: a\r\nX-Twice: b\r\n"),
                client.ping(4, extra="Connection: keep-alive\r\n"),
                client.ping(5, extra=UPGRADE),
                client.ping(6, extra=UPGRADE.lower(), chunked=True),
            )
        ):
            await client.write(request)
            assert await client.answer() == (200, number)
        await client.write(client.ping(7, extra="Connection: close\r\n"))
        assert await client.answer() == (200, 7)
        assert await client.ended()


@pytest.mark.parametrize(
    "extra", ("Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "A B: c\r\n", "A: b\r\n c\r\n")
)
async def test_a_head_that_can_be_read_in_two_ways_is_refused(front: Front, extra: str) -> None:
    async with connected(front) as client:
        await client.write(client.ping(1, extra=extra))
        assert await client.answer() == (400, None)
        assert await client.ended()


async def test_what_follows_a_body_is_no_header(front: Front) -> None:
    async with connected(front) as client:
        request = client.ping(1, chunked=True)
        naming = next(line for line in request.split(b"\r\n") if line.startswith(b"Mcp-Session-Id"))
        await client.write(request.replace(naming + b"\r\n", b"").removesuffix(b"\r\n") + naming + b"\r\n\r\n")
        assert (await client.answer())[0] == 400, "the session is not named before the body"
        await client.write(client.ping(2))
        assert await client.answer() == (200, 2)


async def test_a_body_that_is_longer_than_it_says_ends_its_socket(
    front: Front, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(front) as client:
        await client.write(client.ping(1) + b"}")
        assert (await client.answer())[0] in (200, 400)
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


async def test_a_head_without_an_end_is_not_read_on(front: Front) -> None:
    long = b"x" * 1_000
    for begun, more in (
        (b"GET /mcp HTTP/1.1\r\n", b"X: " + long + b"\r\n"),
        (b"GET /mcp HTTP/1.1\r\nX: ", long),
        (b"GET /", long),
    ):
        async with connected(front) as client:
            await client.write(client.ping(1))
            assert await client.answer() == (200, 1)
            await client.write(begun, *[more] * ((HEAD_LIMIT_BYTES - len(begun)) // len(more) + 1))
            assert (await client.answer())[0] == 431
            assert await client.ended()


async def test_trailers_without_an_end_are_not_read_on(front: Front) -> None:
    async with connected(front) as client:
        trailer = b"X: " + b"x" * 1_000 + b"\r\n"
        request = client.ping(1, chunked=True).removesuffix(b"\r\n")
        with contextlib.suppress(ConnectionError):
            await client.write(request, *[trailer] * (8 * HEAD_LIMIT_BYTES // len(trailer)))
        assert await client.ended()


async def no_app(_scope: object, _receive: object, _send: object) -> None:
    raise AssertionError("every request here is an ordinary POST")


@asynccontextmanager
async def served(
    answered: Answered, app: ASGIApp = no_app, idle_s: int = 5
) -> AsyncGenerator[tuple[uvicorn.Server, int]]:
    """Something else that answers POSTs, and its port."""
    tasks = Tasks("posts")
    http = link(answered, 1_000, tasks)
    config = uvicorn.Config(app, http=http, lifespan="off", log_config=None, timeout_keep_alive=idle_s)
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield server, listening.getsockname()[1]
    finally:
        server.should_exit = True
        async with asyncio.timeout(TIMEOUT_S):
            await serving
        await tasks.close()


HEAD = b"POST /mcp HTTP/1.1\r\nContent-Length: 2\r\n\r\n"


async def test_an_answer_that_breaks_off_does_not_pass_for_whole(caplog: pytest.LogCaptureFixture) -> None:
    async def answered(post: Post) -> None:
        if post.body == b"no":
            raise RuntimeError("at once")
        await post({"type": "http.response.start", "status": 200, "headers": []})
        await post({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("later")

    async with served(answered) as (_, port):
        for body, expected in (
            (b"no", b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
            (b"so", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HEAD + body)
            async with asyncio.timeout(TIMEOUT_S):
                assert await reader.read() == expected
            writer.close()
    assert len(caplog.records) == 2


async def test_what_comes_of_a_body_after_its_answer_takes_no_room() -> None:
    async def answered(_: Post) -> None:
        raise AssertionError("it is no ordinary POST")

    async def refusing(_scope: object, receive: Receive, send: Send) -> None:
        size = 0
        while size <= 2 * LONG_BYTES:
            size += len((await receive())["body"])
        await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def held() -> int:
        return backlog.held_bytes

    part = LONG_BYTES // 4
    chunk = b"%x\r\n%b\r\n" % (part, b"x" * part)
    async with served(answered, refusing) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + 12 * chunk)
        async with asyncio.timeout(TIMEOUT_S):
            assert (await reader.readuntil(b"\r\n\r\n")).split()[1] == b"413"
        await until(held, lambda held_bytes: not held_bytes, TIMEOUT_S, "the room is given back")
        writer.write(12 * chunk)
        await writer.drain()
        await asyncio.sleep(0.05)
        await until(held, lambda held_bytes: not held_bytes, TIMEOUT_S, "none is taken anew")
        writer.close()


@pytest.mark.parametrize(
    "begun",
    (
        b"",
        b"POST /mcp HT",
        HEAD,
        HEAD + b"x",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
    ),
)
async def test_a_client_that_stops_in_a_request_is_not_waited_for(begun: bytes) -> None:
    async def answered(_: Post) -> None:
        raise AssertionError("it is not whole")

    async def waiting(_scope: object, receive: Receive, _send: object) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async with served(answered, waiting, idle_s=1) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begun)
        async with asyncio.timeout(TIMEOUT_S):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()


async def test_a_body_that_never_comes_keeps_no_server_from_its_end() -> None:
    async def answered(_: Post) -> None:
        raise AssertionError("it is not whole")

    async with served(answered) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"x")

        async def waiting() -> bool:
            links = cast("set[Link]", server.server_state.connections)
            return any(each._missing for each in links)  # pyright: ignore[reportPrivateUsage]

        await until(waiting, bool, TIMEOUT_S, "a part of the body is there")
        server.should_exit = True
        async with asyncio.timeout(TIMEOUT_S):
            assert await reader.read() == b""
        writer.close()


async def test_a_post_to_the_url_of_a_view_goes_the_short_way(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    async def answered(post: Post) -> None:
        seen.append(post.view)
        post.answer_json(b"{}")

    async with served(answered) as (_, port):
        for path, status in (
            (b"/mcp", b"200"),
            (b"/mcp/v/reader", b"200"),
            (b"/mcp/v/r-2_B", b"200"),
            *((path, b"500") for path in (b"/mcp/v/", b"/mcp/v/a%62", b"/mcp/v/a/b", b"/mcp/v/a?b", b"/mcp/v/a/")),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HEAD.replace(b"/mcp", path) + b"{}")
            async with asyncio.timeout(TIMEOUT_S):
                assert (await reader.readline()).split()[1] == status
            writer.close()
    assert seen == ["", "reader", "r-2_B"]
    assert len(caplog.records) == 5, "the rest is uvicorn's"
