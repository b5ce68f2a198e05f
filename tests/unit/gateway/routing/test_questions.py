"""A stateless upstream's questions, put to a client with a session, until there is a result or a refusal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest

from hub_gateway.routing.questions import MAX_ROUNDS
from tests.support import raw_http
from tests.support.clients import INFO, RawClient
from tests.support.gateway import House, Stream, gateway, posted
from tests.support.small_server import STATELESS, Answer, Call, SmallServer, small_server, text, tool

pytestmark = pytest.mark.anyio
ROOTS: dict[str, Any] = {"method": "roots/list", "params": {"n": 1e5}}
VISIT: dict[str, Any] = {"method": "elicitation/create", "params": {"mode": "url", "url": "https://x", "message": "go"}}
WORKS_S = 0.5
"""Longer than as many rounds as there may be take without a pause."""
ABLE: dict[str, Any] = {"roots": {}, "elicitation": {"form": {}, "url": {}}}


class Asking:
    """A gateway in front of a stateless server."""

    def __init__(self, house: House, server: SmallServer) -> None:
        self.house = house
        self.server = server

    async def session(self, capabilities: dict[str, Any]) -> RawClient:
        params = {"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": INFO}
        body = RawClient(self.house.url, "x").body("initialize", params, 0)
        return RawClient(self.house.url, (await raw_http.post(self.house.url, body)).headers["mcp-session-id"])

    def will_ask(self, *rounds: dict[str, Any] | None) -> None:
        """Ask these before the result; None asks nothing and wants the state back all the same."""

        async def asks(call: Call) -> Answer:
            turn = int(call.params.get("requestState") or "0")
            if turn >= len(rounds):
                return text(json.dumps(call.params.get("inputResponses")))
            asked = rounds[turn]
            extra: Answer = {} if asked is None else {"inputRequests": asked}
            return {"resultType": "input_required", "requestState": str(turn + 1), **extra}

        self.server.handlers["ask"] = asks


@pytest.fixture(scope="module")
async def asking(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Asking]:
    async with (
        small_server(tool("ask"), era=STATELESS) as server,
        gateway({"a": {"url": server.url}}, tmp_path_factory.mktemp("asking")) as house,
    ):
        yield Asking(house, server)


async def _answer(asking: Asking, client: RawClient, stream: Stream, **body: Any) -> dict[str, Any]:
    """Answer the next question and return it."""
    question = await stream.next()
    sent = json.dumps({"jsonrpc": "2.0", "id": question["id"], **body}).encode()
    assert (await raw_http.post(asking.house.url, sent, {"Mcp-Session-Id": client.session_id or ""})).status == 202
    return question


async def _called(asking: Asking, client: RawClient) -> Any:
    return (await client.call("a__ask")).json()


async def test_questions_are_answered_round_by_round(asking: Asking) -> None:
    asking.will_ask({"first": ROOTS, "second": ROOTS}, None, {"third": VISIT})
    client = await asking.session(ABLE)
    params = {"name": "a__ask", "arguments": {"x": 1}}
    body = client.body("tools/call", params)
    async with posted(asking.house, body, client.headers("tools/call", params)) as stream:
        for roots in (["one"], ["two"]):
            question = await _answer(asking, client, stream, result={"roots": roots})
            assert (question["method"], question["params"]) == ("roots/list", {"n": 1e5})
        visit = await _answer(asking, client, stream, result={"action": "accept"})
        assert {"elicitationId", "url", "mode"} <= visit["params"].keys()
        (answered,) = await stream.rest()
    assert json.loads(answered["result"]["content"][0]["text"]) == {"third": {"action": "accept"}}
    calls = [message["params"] for message in asking.server.seen if message["method"] == "tools/call"]
    assert calls[1]["inputResponses"] == {"first": {"roots": ["one"]}, "second": {"roots": ["two"]}}
    assert all(call["arguments"] == {"x": 1} for call in calls)
    assert [call.get("requestState") for call in calls] == [None, "1", "2", "3"]


async def test_a_client_that_refuses_is_the_answer(asking: Asking) -> None:
    asking.will_ask({"first": ROOTS})
    client = await asking.session(ABLE)
    params: dict[str, Any] = {"name": "a__ask", "arguments": {}}
    async with posted(asking.house, client.body("tools/call", params), client.headers("tools/call", params)) as stream:
        await _answer(asking, client, stream, error={"code": -1, "message": "not now"})
        (answered,) = await stream.rest()
    assert answered["error"] == {"code": -1, "message": "not now"}


async def test_the_first_refusal_is_the_answer_and_takes_the_other_questions_back(asking: Asking) -> None:
    asking.will_ask({"first": ROOTS, "second": VISIT})
    client = await asking.session(ABLE)
    params: dict[str, Any] = {"name": "a__ask", "arguments": {}}
    async with posted(asking.house, client.body("tools/call", params), client.headers("tools/call", params)) as stream:
        left = await stream.next()
        await _answer(asking, client, stream, error={"code": -1, "message": "not now"})
        taken_back, answered = await stream.rest()
    assert taken_back["method"] == "notifications/cancelled"
    assert taken_back["params"]["requestId"] == left["id"]
    assert answered["error"] == {"code": -1, "message": "not now"}


async def test_an_upstream_that_only_wants_its_state_back_gets_time(asking: Asking) -> None:
    done = anyio.Event()
    retries: list[dict[str, Any]] = []

    async def works(call: Call) -> Answer:
        if "requestState" in call.params:
            retries.append(call.params)
        else:
            asyncio.get_running_loop().call_later(WORKS_S, done.set)
        return text("done") if done.is_set() else {"resultType": "input_required", "requestState": "working"}

    asking.server.handlers["ask"] = works
    answer = await _called(asking, await asking.session(ABLE))
    assert answer["result"]["content"][0]["text"] == "done"
    assert not any("inputResponses" in each for each in retries), "nothing was asked"


async def test_a_client_that_cannot_be_asked_is_the_answer_too(asking: Asking) -> None:
    asking.will_ask({"first": ROOTS})
    assert (await _called(asking, await asking.session({})))["error"]["code"] == -32601


@pytest.mark.parametrize(
    "asked", ({"first": 5}, {"first": {"method": "elicitation/create", "params": []}, "second": ROOTS}, [ROOTS])
)
async def test_malformed_questions_are_the_upstream_s_fault(asking: Asking, asked: Any) -> None:
    asking.will_ask(asked)
    answer = await _called(asking, await asking.session(ABLE))
    assert answer["error"]["code"] == -32000
    assert "malformed" in answer["error"]["message"]


async def test_questions_that_never_end_are_ended(asking: Asking) -> None:
    asking.will_ask(*[{"again": ROOTS}] * (MAX_ROUNDS + 1))
    client = await asking.session(ABLE)
    params: dict[str, Any] = {"name": "a__ask", "arguments": {}}
    async with posted(asking.house, client.body("tools/call", params), client.headers("tools/call", params)) as stream:
        for _ in range(MAX_ROUNDS):
            await _answer(asking, client, stream, result={"roots": []})
        (answer,) = await stream.rest()
    assert answer["error"]["code"] == -32000
    assert "rounds" in answer["error"]["message"]


async def test_a_stateless_client_is_asked_by_the_result_itself(asking: Asking) -> None:
    asking.will_ask({"first": ROOTS})
    result = (await _called(asking, RawClient(asking.house.url, capabilities={"roots": {}})))["result"]
    assert result["resultType"] == "input_required"
    assert result["requestState"].startswith("hub2.") and result["requestState"].endswith(".1"), "sealed"
    assert result["inputRequests"] == {"first": ROOTS}
