"""Sessions over Streamable HTTP: opened, named, ended; streams that can be taken up again; batches of old clients."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from hub_gateway.frontends.streamable_http import MAX_BATCH
from tests.support import raw_http
from tests.support.clients import RawClient
from tests.support.gateway import gateway, posted, standing
from tests.unit.gateway.frontends.conftest import Front, call_of, lost_call, naming

pytestmark = pytest.mark.anyio
PING: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
REVISIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
CANCEL: dict[str, Any] = {"jsonrpc": "2.0", "method": "notifications/cancelled"}


async def _in(front: Front, client: RawClient, body: object, **headers: str) -> raw_http.Answer:
    return await front.send(body, Mcp_Session_Id=client.session_id or "", **headers)


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_session_speaks_the_revision_it_was_asked_for(front: Front, revision: str) -> None:
    client = await front.session(revision)
    assert front.house.session(client.session_id).revision == revision
    assert (await _in(front, client, PING)).json() == {"jsonrpc": "2.0", "id": 1, "result": {}}
    assert (await _in(front, client, PING, MCP_Protocol_Version=revision)).status == 200


@pytest.mark.parametrize(
    "params", ({}, {"protocolVersion": 5}, {"protocolVersion": "2025-11-25", "capabilities": []}, {"capabilities": {}})
)
async def test_an_initialize_that_lacks_something_opens_nothing(front: Front, params: dict[str, Any]) -> None:
    before = len(front.house.gateway.sessions)
    answer = await front.send({"jsonrpc": "2.0", "id": "a", "method": "initialize", "params": params})
    assert (answer.status, answer.json()["error"]["code"], answer.json()["id"]) == (400, -32602, "a")
    assert "mcp-session-id" not in answer.headers
    assert len(front.house.gateway.sessions) == before


@pytest.mark.parametrize("method", ("POST", "GET", "DELETE"))
async def test_an_unknown_session_gets_404_and_none_at_all_400(front: Front, method: str) -> None:
    unknown = await front.send(PING, method, Mcp_Session_Id="nobody's")
    assert unknown.status == 404
    assert unknown.json()["id"] == (1 if method == "POST" else None)
    if method != "GET":
        assert (await front.send(PING, method)).status == 400


@pytest.mark.parametrize("revision", ("2026-07-28", "1999-01-01", "x"))
async def test_a_session_has_no_other_era(front: Front, revision: str) -> None:
    client = await front.session()
    answer = await _in(front, client, PING, MCP_Protocol_Version=revision)
    assert (answer.status, answer.json()["id"]) == (400, 1)


async def test_a_session_that_was_ended_is_gone_with_its_calls_and_streams(front: Front) -> None:
    client = await front.session()
    async with standing(front.house, client.session_id) as heard:
        asked = asyncio.ensure_future(_in(front, client, call_of("a__hold")))
        call = await front.running()
        assert (await _in_delete(front, client)).status == 200
        await call.cancelled.wait()
        assert (await asked).body == b""
        assert await heard.rest() == []
    assert (await _in_delete(front, client)).status == 404
    assert (await _in(front, client, PING)).status == 404


async def _in_delete(front: Front, client: RawClient) -> raw_http.Answer:
    return await front.send(b"", "DELETE", Mcp_Session_Id=client.session_id or "")


async def test_the_limit_of_sessions_is_503(tmp_path: Path) -> None:
    async with gateway({}, tmp_path, session_limit=1) as house:
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}).encode()
        first = await raw_http.post(house.url, body)
        second = await raw_http.post(house.url, body)
        assert (first.status, second.status) == (200, 503)
        fields = {"Mcp-Session-Id": first.headers["mcp-session-id"]}
        await raw_http.send("DELETE", house.url, headers=fields)
        assert (await raw_http.post(house.url, body)).status == 200


@pytest.mark.parametrize(
    "body",
    (
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": 5},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 99}},
        {"jsonrpc": "2.0", "id": "nobody asked", "result": {}},
        {"jsonrpc": "2.0", "id": 7, "error": {"code": 1, "message": "x"}},
    ),
)
async def test_what_is_no_request_is_accepted_without_a_body(front: Front, body: dict[str, Any]) -> None:
    client = await front.session()
    answer = await _in(front, client, body)
    expected = (400, b"") if body.get("params") == 5 else (202, b"")
    assert answer.status == expected[0]
    assert expected[0] == 400 or answer.body == expected[1]


@pytest.mark.parametrize("method", ("server/discover", "subscriptions/listen", "no/such", "initialize2"))
async def test_methods_that_the_era_has_not(front: Front, method: str) -> None:
    client = await front.session()
    answer = await _in(front, client, {**PING, "method": method})
    assert (answer.status, answer.json()["error"]["code"]) == (200, -32601)


async def test_an_event_id_of_no_stream_is_refused(front: Front) -> None:
    client = await front.session()
    for event_id in ("x", "call99-1", "call1.e30~0-1", "-", "call1-x"):
        answer = await front.send(b"", "GET", Mcp_Session_Id=client.session_id or "", Last_Event_ID=event_id)
        assert answer.status == 400, event_id


async def test_a_call_whose_stream_nobody_keeps_is_told_so(front: Front) -> None:
    client, other = await front.session(), await front.session()
    last, _ = await lost_call(front, other)
    async with standing(front.house, client.session_id, **{"Last-Event-ID": last}) as stream:
        (told,) = await stream.rest()
    assert told["error"]["code"] == -32000
    assert "whether the request has run is not known" in told["error"]["message"]
    async with standing(front.house, other.session_id, **{"Last-Event-ID": last}) as stream:
        front.release.set()
        _, answered = await stream.rest()
    assert told["id"] == answered["id"]


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_standing_stream_is_primed_where_the_revision_has_it(front: Front, revision: str) -> None:
    client = await front.session(revision)
    fields = {"Accept": "text/event-stream", **naming(client)}
    async with raw_http.opened("GET", front.url, headers=fields) as exchange:
        first = await anext(exchange.chunks())
    assert first.startswith(b"id: " if revision >= "2025-11-25" else b":")


async def test_a_standing_stream_begins_where_the_last_one_ended(front: Front) -> None:
    client = await front.session()
    session = front.house.session(client.session_id)
    session.tell(b'{"method":"one"}')
    async with standing(front.house, client.session_id) as stream:
        assert await stream.next() == {"method": "one"}
        async with standing(front.house, client.session_id) as second:
            session.tell(b'{"method":"two"}')
            assert await second.next() == {"method": "two"}
            assert await stream.rest() == [], "the later one took over"
            assert session.attached == 1


async def test_the_first_id_of_a_standing_stream_is_after_what_was_read(front: Front) -> None:
    client = await front.session()
    session = front.house.session(client.session_id)
    session.tell(b'{"method":"one"}')
    async with standing(front.house, client.session_id) as stream:
        assert await stream.next() == {"method": "one"}
    fields = {"Accept": "text/event-stream", **naming(client)}
    async with raw_http.opened("GET", front.url, headers=fields) as exchange:
        first = raw_http.event_id(await anext(exchange.blocks()))
    session.tell(b'{"method":"two"}')
    async with standing(front.house, client.session_id, **{"Last-Event-ID": first}) as stream:
        assert await stream.next() == {"method": "two"}


async def test_a_get_that_takes_no_stream_is_refused(front: Front) -> None:
    client = await front.session()
    answer = await front.send(b"", "GET", Mcp_Session_Id=client.session_id or "", Accept="application/json")
    assert answer.status == 406


BATCHING = ("2025-03-26", "2024-11-05")


@pytest.mark.parametrize("revision", BATCHING)
async def test_a_batch_is_answered_as_one(front: Front, revision: str) -> None:
    client = await front.session(revision)
    batch: list[dict[str, Any]] = [
        PING,
        call_of("a__echo", "x"),
        CANCEL,
        {"jsonrpc": "1.0", "id": 9},
        {**PING, "id": 2, "method": "no/such"},
    ]
    answer = await _in(front, client, batch)
    assert answer.status == 200
    found = {each["id"]: each for each in answer.json()}
    assert found[1]["result"] == {}
    assert found["x"]["result"]["content"]
    assert (found[9]["error"]["code"], found[2]["error"]["code"]) == (-32600, -32601)
    assert len(answer.json()) == 4
    silent: list[dict[str, Any]] = [CANCEL, {"jsonrpc": "2.0", "id": 5, "result": {}}]
    only = await _in(front, client, silent)
    assert (only.status, only.body) == (202, b"")


@pytest.mark.parametrize("revision", [revision for revision in REVISIONS if revision not in BATCHING])
async def test_later_revisions_have_no_batches(front: Front, revision: str) -> None:
    answer = await _in(front, await front.session(revision), [PING])
    assert (answer.status, answer.json()["error"]["code"]) == (400, -32600)


@pytest.mark.parametrize("body", (b"[]", b"[", b'["\xff"]', json.dumps([PING] * (MAX_BATCH + 1)).encode()))
async def test_a_batch_that_cannot_be_taken_is_refused_as_one(front: Front, body: bytes) -> None:
    client = await front.session("2025-03-26")
    answer = await front.send(body, Mcp_Session_Id=client.session_id or "")
    assert answer.status == 400
    assert answer.json()["error"]["code"] in (-32600, -32700)


async def test_a_batch_needs_a_session(front: Front) -> None:
    assert (await front.send([PING])).status == 400
    assert (await front.send([PING], MCP_Protocol_Version="2026-07-28")).status == 400


async def test_what_comes_before_the_answers_to_a_batch_comes_on_its_own_stream(front: Front) -> None:
    client = await front.session("2025-03-26", roots={})
    front.release.set()
    batch = [call_of("a__steps", "x", _meta={"progressToken": "t"}), call_of("a__ask", "y"), PING]
    async with posted(front.house, json.dumps(batch).encode(), naming(client)) as stream:
        heard = await stream.until(lambda message: message.get("method") == "roots/list")
        answer = {"jsonrpc": "2.0", "id": heard[-1]["id"], "result": {"roots": []}}
        assert (await _in(front, client, answer)).status == 202
        heard = [*heard[:-1], *await stream.rest()]
    assert [each["params"]["progress"] for each in heard if "params" in each] == [1, 2, 3, 4]
    assert {each["id"] for each in heard if "result" in each} == {"x", "y", 1}
    assert not front.house.session(client.session_id).standing.has_unread


async def test_one_of_a_batch_is_cancelled_and_the_others_are_answered(front: Front) -> None:
    client = await front.session("2025-03-26")
    batch: list[dict[str, Any]] = [call_of("a__hold", "x"), PING]
    asked = asyncio.ensure_future(_in(front, client, batch))
    call = await front.running()
    await _in(front, client, {**CANCEL, "params": {"requestId": "x"}})
    assert [each["id"] for each in (await asked).json()] == [1]
    await call.cancelled.wait()
    assert front.house.session(client.session_id).running == {}


async def test_an_id_that_is_used_twice_at_a_time_does_no_harm(front: Front) -> None:
    client = await front.session()
    first = asyncio.ensure_future(_in(front, client, call_of("a__hold", "x")))
    await front.running()
    second = asyncio.ensure_future(_in(front, client, call_of("a__ask", "x")))
    assert (await second).status == 200
    running = front.house.session(client.session_id).running
    await _in(front, client, {**CANCEL, "params": {"requestId": "x"}})
    front.release.set()
    assert (await first).json()["result"]["content"][0]["text"] == "released"
    assert running == {}
