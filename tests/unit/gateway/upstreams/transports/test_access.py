"""What a transport does with an access whose header changes: 401 and 403, on every kind of request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from hub_gateway.config.server_model import ConnectionPool
from hub_gateway.errors import UpstreamUnauthorized
from hub_gateway.upstreams.transports.http_sse import HttpSse
from hub_gateway.upstreams.transports.streamable_http import StreamableHttp
from tests.unit.gateway.upstreams.scripted import STREAM_HEAD, Play, Request, Write, answer, chunk, scripted

pytestmark = pytest.mark.anyio
ASK = b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}'
REPLY = b'{"jsonrpc":"2.0","id":1,"result":{}}'
NOTE = b'{"jsonrpc":"2.0","method":"notifications/x"}'
REFUSAL = answer(b"", 'WWW-Authenticate: Basic realm="x"', "www-authenticate: Bearer", status="401 Unauthorized")


class Numbered:
    """An access whose tokens count up; it gives out so many."""

    def __init__(self, last: int) -> None:
        self.header = b""
        self.asked: list[tuple[bytes, int, str | None]] = []
        self.let_in = b""
        self._last = last
        self._watchers: list[Callable[[], None]] = []

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        self._watchers.append(changed)
        return lambda: self._watchers.remove(changed)

    async def renew(self, refused: bytes, status: int, challenge: str | None) -> None:
        self.asked.append((refused, status, challenge))
        if len(self.asked) > self._last:
            raise UpstreamUnauthorized("no more tokens")
        self.swap(b"Authorization: Bearer %d\r\n" % len(self.asked))

    def accepted(self, header: bytes) -> None:
        self.let_in = header

    def swap(self, header: bytes) -> None:
        self.header = header
        for changed in self._watchers:
            changed()

    @property
    def watched(self) -> int:
        return len(self._watchers)


def _wants(token: str) -> Play:
    async def play(request: Request, write: Write) -> bool:
        if request.headers.get("authorization") != f"Bearer {token}":
            await write(REFUSAL)
        elif request.method == "GET":
            await write(STREAM_HEAD + chunk(b"event: endpoint\ndata: /messages\n\n"))
            await asyncio.Event().wait()
        else:
            await write(answer(REPLY) if b'"id"' in request.body else answer(b"", status="202 Accepted"))
        return True

    return play


async def _streamable(url: str, access: Numbered, received: list[bytes]) -> StreamableHttp:
    def receive(body: bytes, upstream_id: int | None) -> bool:
        received.append(body)
        return True

    transport = StreamableHttp("test", url, {"X-Key": "k"}, ConnectionPool(), access)
    await transport.open(receive, lambda reason: None)
    return transport


@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
async def test_a_refused_message_is_sent_again_with_the_next_token(revision: str) -> None:
    access, received = Numbered(9), list[bytes]()
    async with scripted(_wants("2")) as server:
        transport = await _streamable(server.url, access, received)
        transport.speak(revision)
        async with asyncio.timeout(10):
            await transport.send(ASK, upstream_id=1, method="tools/call", name="t", mirrored=[("mcp-param-a", "b")])
            await transport.send(NOTE, upstream_id=None, method="notifications/x", name=None)
            await transport.send(ASK, upstream_id=1, method="tools/call", name="t")
        await transport.close()
        assert received == [REPLY, REPLY]
        assert [refused for refused, _, _ in access.asked] == [b"", b"Authorization: Bearer 1\r\n"]
        assert access.let_in == b"Authorization: Bearer 2\r\n"
        assert access.asked[0][1:] == (401, 'Basic realm="x", Bearer')
        shown = [request.headers.get("authorization") for request in server.requests if request.method == "POST"]
        assert shown == [None, "Bearer 1", "Bearer 2", "Bearer 2", "Bearer 2"]
        if revision == "2026-07-28":
            assert [request.headers.get("mcp-param-a") for request in server.requests[:4]] == ["b", "b", "b", None]
        assert all(request.headers["x-key"] == "k" for request in server.requests)
    assert access.watched == 0


async def test_a_server_that_refuses_every_token_is_not_asked_for_ever() -> None:
    access = Numbered(9)
    async with scripted(_wants("none")) as server:
        transport = await _streamable(server.url, access, [])
        with pytest.raises(UpstreamUnauthorized, match="HTTP 401"):
            await transport.send(ASK, upstream_id=1, method="tools/call", name="t")
        assert len(server.requests) == 3
        assert access.let_in == b""
        await transport.close()


async def test_without_another_token_its_reason_is_told() -> None:
    async with scripted(_wants("none")) as server:
        transport = await _streamable(server.url, Numbered(0), [])
        with pytest.raises(UpstreamUnauthorized, match="no more tokens"):
            await transport.send(ASK, upstream_id=1, method="tools/call", name="t")
        await transport.close()


async def test_the_event_stream_and_its_messages_carry_the_token() -> None:
    access = Numbered(9)
    async with scripted(_wants("1")) as server:
        transport = HttpSse("test", server.url, {}, ConnectionPool(), access)
        async with asyncio.timeout(10):
            await transport.open(lambda body, upstream_id: False, lambda reason: None)
            await transport.send(NOTE, upstream_id=None, method="notifications/x", name=None)
            access.swap(b"Authorization: Bearer stale\r\n")
            access.asked.clear()
            await transport.send(NOTE, upstream_id=None, method="notifications/x", name=None)
        await transport.close()
        shown = [(request.method, request.headers.get("authorization")) for request in server.requests]
        assert shown == [
            ("GET", None),
            ("GET", "Bearer 1"),
            ("POST", "Bearer 1"),
            ("POST", "Bearer stale"),
            ("POST", "Bearer 1"),
        ]
        assert access.let_in == b"Authorization: Bearer 1\r\n"
    assert access.watched == 0


async def test_an_event_stream_that_is_refused_says_why() -> None:
    async with scripted(_wants("none")) as server:
        for access, words in ((Numbered(0), "no more tokens"), (Numbered(9), "HTTP 401")):
            transport = HttpSse("test", server.url, {}, ConnectionPool(), access)
            with pytest.raises(UpstreamUnauthorized, match=words):
                async with asyncio.timeout(10):
                    await transport.open(lambda body, upstream_id: False, lambda reason: None)
            await transport.close()
