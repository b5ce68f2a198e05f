"""The deprecated HTTP+SSE transport against scripted endpoints."""

from __future__ import annotations

import asyncio

import pytest

from hub_gateway.config.server_model import ConnectionPool
from hub_gateway.errors import UpstreamDown, UpstreamUnauthorized
from hub_gateway.upstreams.transports.http_sse import HttpSse
from hub_gateway.upstreams.transports.transport import Refused
from tests.unit.gateway.upstreams.scripted import STREAM_HEAD, Request, Write, answer, chunk, scripted

pytestmark = pytest.mark.anyio
NOTE = b'{"jsonrpc":"2.0","method":"x"}'


async def _open(transport: HttpSse, lost: asyncio.Future[str], received: list[bytes]) -> None:
    def receive(body: bytes, upstream_id: int | None) -> bool:
        received.append(body)
        return False

    async with asyncio.timeout(10):
        await transport.open(receive, lost.set_result)


async def test_messages_go_to_the_endpoint_and_come_on_the_stream() -> None:
    posted = asyncio.Event()

    async def play(request: Request, write: Write) -> bool:
        if request.method == "GET":
            await write(STREAM_HEAD + chunk(b"event: endpoint\ndata: /messages?s=1\n\n"))
            await posted.wait()
            await write(chunk(b"event: message\ndata: " + NOTE + b"\n\n"))
            return False
        await write(answer(b"Accepted", status="202 Accepted"))
        posted.set()
        return True

    lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    received: list[bytes] = []
    async with scripted(play) as server:
        transport = HttpSse("test", server.url, {"X-Key": "k"}, ConnectionPool())
        await _open(transport, lost, received)
        await transport.send(b"{}", upstream_id=1, method="initialize", name=None)
        async with asyncio.timeout(10):
            assert await lost == "the connection was closed by the server"
        assert received == [NOTE]
        get, post = server.requests
        assert (get.target, get.headers["accept"], get.headers["x-key"]) == ("/mcp", "text/event-stream", "k")
        assert (post.target, post.body, post.headers["x-key"]) == ("/messages?s=1", b"{}", "k")
        await transport.close()


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (answer(b"", status="405 Method Not Allowed"), Refused, "HTTP 405"),
        (answer(b"", status="401 Unauthorized"), UpstreamUnauthorized, "credentials"),
        (STREAM_HEAD + chunk(b"event: endpoint\ndata: http://evil.example/m\n\n"), UpstreamDown, "another origin"),
        (STREAM_HEAD + chunk(b"event: endpoint\ndata: http://[/m\n\n"), UpstreamDown, "url is not valid"),
        (STREAM_HEAD + b"0\r\n\r\n", UpstreamDown, "ended the event stream"),
    ],
)
async def test_a_stream_that_names_no_endpoint_of_its_own_is_refused(
    said: bytes, kind: type[Exception], words: str
) -> None:
    async def play(request: Request, write: Write) -> bool:
        await write(said)
        return True

    async with scripted(play) as server:
        transport = HttpSse("test", server.url, {}, ConnectionPool())
        with pytest.raises(kind, match=words):
            await _open(transport, asyncio.get_running_loop().create_future(), [])
        await transport.close()
