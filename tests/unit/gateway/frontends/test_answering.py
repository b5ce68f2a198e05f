"""The answer of one POST: a JSON object or a stream, cancelled by the client or by its going away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest

from hub_common.tasks import Tasks
from hub_gateway.frontends import answering
from hub_gateway.routing.exchange import Exchange, Response
from hub_gateway.wire import codec
from hub_gateway.wire.meta import Caller
from hub_gateway.wire.revisions import Era
from tests.support import raw_http
from tests.support.clients import RawClient
from tests.support.gateway import posted, standing
from tests.support.small_server import Answer, Call, text
from tests.unit.gateway.frontends.conftest import Front, call_of, lost_call, naming

pytestmark = pytest.mark.anyio
CANCEL: dict[str, Any] = {"jsonrpc": "2.0", "method": "notifications/cancelled"}


async def _in(front: Front, client: RawClient, body: object, **headers: str) -> raw_http.Answer:
    return await front.send(body, Mcp_Session_Id=client.session_id or "", **headers)


async def test_a_call_that_says_something_before_its_answer_is_a_stream(front: Front) -> None:
    client = await front.session()
    front.release.set()
    body = call_of("a__steps", "my id", _meta={"progressToken": "tok"})
    async with posted(front.house, json.dumps(body).encode(), naming(client)) as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        assert stream.headers["x-accel-buffering"] == "no"
        *told, answered = await stream.rest()
    assert [(each["params"]["progressToken"], each["params"]["progress"]) for each in told] == [
        ("tok", step) for step in range(1, 5)
    ]
    assert (answered["id"], answered["result"]["content"][0]["text"]) == ("my id", "done")


async def test_a_client_that_takes_no_streams_gets_the_answer_alone(front: Front) -> None:
    client = await front.session()
    front.release.set()
    body = call_of("a__steps", _meta={"progressToken": 1})
    answer = await _in(front, client, body, Accept="application/json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["result"]["content"][0]["text"] == "done"


@pytest.mark.parametrize("accepted", ("Text/Event-Stream", "application/json, text/*", "*/*;q=0.1"))
async def test_a_client_says_in_its_own_way_that_it_takes_streams(front: Front, accepted: str) -> None:
    client = await front.session()
    front.release.set()
    answer = await _in(front, client, call_of("a__steps", _meta={"progressToken": 1}), Accept=accepted)
    assert answer.headers["content-type"] == "text/event-stream"


async def test_a_stream_that_was_lost_is_taken_up_after_the_last_event(front: Front) -> None:
    client = await front.session()
    last, heard = await lost_call(front, client)
    assert [each["params"]["progress"] for each in heard] == [1, 2, 3]
    async with standing(front.house, client.session_id, **{"Last-Event-ID": last}) as stream:
        front.release.set()
        step, answered = await stream.rest()
    assert step["params"]["progress"] == 4
    assert answered["result"]["content"][0]["text"] == "done"
    earlier = last.rpartition("-")[0] + "-1"
    async with standing(front.house, client.session_id, **{"Last-Event-ID": earlier}) as stream:
        again = await stream.rest()
    assert [each.get("params", {}).get("progress") for each in again] == [2, 3, 4, None]


async def test_a_call_nobody_comes_back_for_is_cancelled(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "GRACE_S", 0.01)
    client = await front.session()
    last, _ = await lost_call(front, client)
    call = await front.running("steps")
    await call.cancelled.wait()
    async with standing(front.house, client.session_id, **{"Last-Event-ID": last}) as stream:
        (told,) = await stream.rest()
    assert told["error"]["message"] == "The client was away for too long, and its call was cancelled"


async def test_a_silent_call_that_broke_is_taken_up_before_anything_was_said(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "STREAM_AFTER_S", 3600)
    monkeypatch.setattr(answering, "RESUMABLE_AFTER_S", 0.01)
    client = await front.session()
    async with raw_http.opened("POST", front.url, json.dumps(call_of("a__hold", "x")).encode(), naming(client)) as lost:
        async for block in lost.blocks():
            last = raw_http.event_id(block)
            break
    async with standing(front.house, client.session_id, **{"Last-Event-ID": last}) as stream:
        front.release.set()
        (answered,) = await stream.rest()
    assert (answered["id"], answered["result"]["content"][0]["text"]) == ("x", "released")


async def test_a_silent_call_becomes_a_stream_so_that_somebody_sees_it_live(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "STREAM_AFTER_S", 0.01)
    client = await front.session("2025-06-18")
    async with posted(front.house, json.dumps(call_of("a__hold")).encode(), naming(client)) as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        front.release.set()
        (answered,) = await stream.rest()
    assert answered["result"]["content"][0]["text"] == "released"


async def test_a_call_that_is_cancelled_is_cancelled_upstream_and_has_no_answer(front: Front) -> None:
    client = await front.session()
    asked = asyncio.ensure_future(_in(front, client, call_of("a__hold", "x")))
    call = await front.running()
    assert (await _in(front, client, {**CANCEL, "params": {"requestId": "y"}})).status == 202
    assert not call.cancelled.is_set()
    assert (await _in(front, client, {**CANCEL, "params": {"requestId": "x"}})).status == 202
    answer = await asked
    assert (answer.status, answer.body) == (202, b"")
    await call.cancelled.wait()
    assert (await front.server.saw_method("notifications/cancelled"))["params"]["requestId"] == call.id
    assert front.house.session(client.session_id).running == {}


async def test_a_stream_whose_call_is_cancelled_ends_without_an_answer(front: Front) -> None:
    client = await front.session()
    body = json.dumps(call_of("a__steps", "x", _meta={"progressToken": 1})).encode()
    async with posted(front.house, body, naming(client)) as stream:
        await stream.next()
        await _in(front, client, {**CANCEL, "params": {"requestId": "x"}})
        assert all(each["method"] == "notifications/progress" for each in await stream.rest())
    await (await front.running("steps")).cancelled.wait()


async def test_once_calls_have_ended_one_that_comes_is_told_so_and_not_made() -> None:
    watches, sent = answering.Watches(), list[MutableMapping[str, Any]]()
    watches.end("The hub is stopping")
    made = list[str]()

    async def receive() -> dict[str, Any]:
        return await asyncio.get_running_loop().create_future()

    async def send(part: MutableMapping[str, Any]) -> None:
        sent.append(part)

    async def made_late() -> Response:
        await asyncio.sleep(0)
        made.append("call")
        return Response(b"{}")

    message = codec.decode(json.dumps(call_of("t", "x")).encode())
    exchange = Exchange(message, era=Era.STATELESS, caller=Caller(b"{}", b"{}"), session=None, outlet=None)
    answered = answering.Answering(receive, send, None, False, Tasks("test"), watches)
    await answered.answer(exchange, made_late(), lambda _: 200)
    said = json.loads(b"".join(part.get("body", b"") for part in sent))
    assert (said["id"], said["error"]["message"], made) == ("x", "The hub is stopping", [])


@pytest.mark.parametrize("stateless", (True, False))
async def test_a_client_that_hangs_up_cancels_its_call(front: Front, stateless: bool) -> None:
    client = RawClient(front.url) if stateless else await front.session()
    params: dict[str, Any] = {"name": "a__hold", "arguments": {}}
    fields = {"Content-Type": "application/json", "Accept": raw_http.ACCEPT, **client.headers("tools/call", params)}
    parts = raw_http.urlsplit(front.url)
    _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    body = client.body("tools/call", params)
    head = "".join(f"{name}: {value}\r\n" for name, value in {"Host": parts.netloc, **fields}.items())
    writer.write(f"POST /mcp HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    call = await front.running()
    writer.close()
    await call.cancelled.wait()


async def test_a_stateless_client_that_closes_its_stream_cancels_its_call(front: Front) -> None:
    client = RawClient(front.url)
    params = {"name": "a__steps", "arguments": {}, "_meta": {"progressToken": "t"}}
    async with posted(front.house, client.body("tools/call", params), client.headers("tools/call", params)) as stream:
        assert (await stream.next())["params"]["progressToken"] == "t"
    await (await front.running("steps")).cancelled.wait()


async def test_a_question_of_the_upstream_and_its_answer_pass(front: Front) -> None:
    client = await front.session(roots={})
    async with posted(front.house, json.dumps(call_of("a__ask")).encode(), naming(client)) as stream:
        question = await stream.next()
        assert (question["method"], question["params"]) == ("roots/list", {"_meta": {"x": 1e5}})
        raw = b'{"jsonrpc":"2.0","id":' + json.dumps(question["id"]).encode() + b',"result":{"roots":[],"x":1E5}}'
        assert (await front.send(raw, Mcp_Session_Id=client.session_id or "")).status == 202
        (answered,) = await stream.rest()
    assert json.loads(answered["result"]["content"][0]["text"])["result"] == {"roots": [], "x": 1e5}
    assert b'"x":1E5' in next(body for body in reversed(front.server.bodies) if b'"roots"' in body)


async def test_a_client_that_cannot_be_asked_is_not(front: Front) -> None:
    client = await front.session()
    answer = await _in(front, client, call_of("a__ask"))
    assert json.loads(answer.json()["result"]["content"][0]["text"])["error"]["code"] == -32601
    able = await front.session(roots={})
    without = await _in(front, able, call_of("a__ask"), Accept="application/json")
    assert json.loads(without.json()["result"]["content"][0]["text"])["error"]["code"] == -32601


async def test_a_question_that_nobody_waits_for_any_more_is_taken_back(front: Front) -> None:
    async def hasty(call: Call) -> Answer:
        call.send_request("roots/list", {})
        await front.release.wait()
        return text("never mind")

    front.server.handlers["hold"] = hasty
    client = await front.session(roots={})
    async with posted(front.house, json.dumps(call_of("a__hold")).encode(), naming(client)) as stream:
        question = await stream.next()
        front.release.set()
        cancelled, answered = await stream.rest()
    assert (cancelled["method"], cancelled["params"]["requestId"]) == ("notifications/cancelled", question["id"])
    assert answered["result"]["content"][0]["text"] == "never mind"
    late: dict[str, Any] = {"jsonrpc": "2.0", "id": question["id"], "result": {"roots": []}}
    assert (await _in(front, client, late)).status == 202


async def test_a_question_that_the_upstream_takes_back_is_named_as_the_client_knows_it(front: Front) -> None:
    async def undecided(call: Call) -> Answer:
        asked_id, _ = call.send_request("roots/list", {})
        call.tell("notifications/cancelled", requestId=asked_id, reason="no need")
        await front.release.wait()
        return text("done")

    front.server.handlers["hold"] = undecided
    client = await front.session(roots={})
    async with posted(front.house, json.dumps(call_of("a__hold")).encode(), naming(client)) as stream:
        question, cancelled = await stream.next(), await stream.next()
        front.release.set()
        await stream.rest()
    assert cancelled["method"] == "notifications/cancelled"
    assert cancelled["params"] == {"requestId": question["id"], "reason": "no need"}


async def test_listening_needs_a_stream(front: Front) -> None:
    client = RawClient(front.url)
    params = {"notifications": {"toolsListChanged": True}}
    fields = {**client.headers("subscriptions/listen", params), "Accept": "application/json"}
    answer = await raw_http.post(front.url, client.body("subscriptions/listen", params), fields)
    assert (answer.status, answer.json()["error"]["code"]) == (400, -32602)
