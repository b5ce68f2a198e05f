"""HTTP+SSE for clients of 2024-11-05: one stream for everything, and a second URL to post to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from tests.support import raw_http
from tests.support.clients import INFO
from tests.unit.gateway.frontends.conftest import BODY_LIMIT_BYTES, Front, call_of

pytestmark = pytest.mark.anyio
HEARD_S = 15.0
PING: dict[str, Any] = {"jsonrpc": "2.0", "id": "p", "method": "ping"}
HELLO: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {"protocolVersion": "2024-11-05", "capabilities": {"roots": {}}, "clientInfo": INFO},
}


class Line:
    """One open stream, and the URL it gave."""

    def __init__(self, front: Front, exchange: raw_http.Exchange, endpoint: str, events: AsyncGenerator[bytes]) -> None:
        self._front = front
        self.headers = exchange.headers
        self.endpoint = endpoint
        self._events = events

    async def post(self, body: bytes | object) -> raw_http.Answer:
        """Post a message to the second URL."""
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await raw_http.post(self._front.url.removesuffix("/mcp") + self.endpoint, sent)

    async def next(self) -> dict[str, Any]:
        """The next message on the stream."""
        with anyio.fail_after(HEARD_S):
            return json.loads(await anext(self._events))

    async def ask(self, body: object) -> dict[str, Any]:
        """Post a request and wait for the next message."""
        assert (await self.post(body)).status == 202
        return await self.next()


@asynccontextmanager
async def opened(front: Front, hello: bool = True) -> AsyncGenerator[Line]:
    """An open stream, after the handshake unless the test wants to make it."""
    async with raw_http.opened("GET", front.url, headers={"Accept": "text/event-stream"}) as exchange:
        events = exchange.events()
        with anyio.fail_after(HEARD_S):
            endpoint = (await anext(events)).decode()
        line = Line(front, exchange, endpoint, events)
        if hello:
            assert (await line.ask(HELLO))["result"]["protocolVersion"] == "2024-11-05"
        yield line


async def test_the_stream_says_where_to_post_and_answers(front: Front) -> None:
    async with opened(front) as line:
        assert line.headers["content-type"] == "text/event-stream"
        assert line.endpoint.startswith("/messages?sessionId=")
        assert await line.ask(PING) == {"jsonrpc": "2.0", "id": "p", "result": {}}
        answered = await line.ask(call_of("a__echo", 7, arguments={"x": 1}))
        assert json.loads(answered["result"]["content"][0]["text"])["arguments"] == {"x": 1}


async def test_progress_and_the_answer_come_in_order(front: Front) -> None:
    front.release.set()
    async with opened(front) as line:
        await line.post(call_of("a__steps", 7, _meta={"progressToken": "t"}))
        heard = [await line.next() for _ in range(5)]
    assert [each.get("params", {}).get("progress") for each in heard] == [1, 2, 3, 4, None]
    assert heard[-1]["id"] == 7


async def test_large_answers_that_come_together_all_arrive(front: Front) -> None:
    size_bytes = 3 * 1024 * 1024
    async with opened(front) as line:
        for client_id in range(4):
            await line.post(call_of("a__big", client_id, arguments={"bytes": size_bytes}))
        answers = [await line.next() for _ in range(4)]
    assert {answer["id"] for answer in answers} == set(range(4))
    assert {len(answer["result"]["content"][0]["text"]) for answer in answers} == {size_bytes}


async def test_a_question_of_the_upstream_comes_on_the_stream(front: Front) -> None:
    async with opened(front) as line:
        question = await line.ask(call_of("a__ask", 7))
        assert question["method"] == "roots/list"
        answered = await line.ask({"jsonrpc": "2.0", "id": question["id"], "result": {"roots": []}})
        assert json.loads(answered["result"]["content"][0]["text"])["result"] == {"roots": []}


async def test_a_cancelled_call_is_cancelled_upstream(front: Front) -> None:
    async with opened(front) as line:
        await line.post(call_of("a__hold", 7))
        call = await front.running()
        await line.post({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}})
        await call.cancelled.wait()
        assert (await line.ask(PING))["id"] == "p", "and has no answer"


async def test_the_session_ends_with_its_stream(front: Front) -> None:
    before = len(front.house.gateway.sessions)
    async with opened(front) as line:
        assert len(front.house.gateway.sessions) == before + 1
        await line.post(call_of("a__hold", 7))
        call = await front.running()
    await call.cancelled.wait()
    with anyio.fail_after(HEARD_S):
        while (await line.post(PING)).status != 404:
            pass
    assert len(front.house.gateway.sessions) == before


async def test_a_stream_has_one_session(front: Front) -> None:
    before = len(front.house.gateway.sessions)
    async with opened(front) as line:
        assert (await line.ask({**HELLO, "id": 1}))["error"]["code"] == -32600
        assert (await line.ask(PING))["result"] == {}
        assert len(front.house.gateway.sessions) == before + 1


async def test_before_the_handshake_nothing_else_is_answered(front: Front) -> None:
    async with opened(front, hello=False) as line:
        assert (await line.ask(PING))["error"]["code"] == -32600
        assert (await line.post({"jsonrpc": "2.0", "method": "notifications/initialized"})).status == 202
        assert (await line.ask({**HELLO, "params": {}}))["error"]["code"] == -32602
        assert "result" in await line.ask(HELLO)


@pytest.mark.parametrize(("query", "status"), (("", 400), ("?sessionId=", 400), ("?sessionId=x", 404), ("?x=1", 400)))
async def test_a_post_for_no_stream_is_refused(front: Front, query: str, status: int) -> None:
    answer = await raw_http.post(front.url.removesuffix("/mcp") + "/messages" + query, json.dumps(PING).encode())
    assert (answer.status, answer.json()["error"]["code"]) == (status, -32600)


@pytest.mark.parametrize(
    ("body", "status"), ((b"{", 400), (b"[]", 400), (b'{"id":1}', 400), (b" " * (BODY_LIMIT_BYTES + 1), 413))
)
async def test_a_bad_body_is_refused_and_the_stream_goes_on(front: Front, body: bytes, status: int) -> None:
    async with opened(front) as line:
        assert (await line.post(body)).status == status
        assert (await line.ask(PING))["result"] == {}


async def test_the_stream_is_for_streams_only(front: Front) -> None:
    assert (await front.send(b"", "GET", Accept="application/json")).status == 406


async def test_streams_do_not_hear_each_other(front: Front) -> None:
    async with opened(front) as one, opened(front) as other:
        await asyncio.gather(one.post(call_of("a__echo", "one")), other.post(call_of("a__echo", "other")))
        assert ((await one.next())["id"], (await other.next())["id"]) == ("one", "other")
