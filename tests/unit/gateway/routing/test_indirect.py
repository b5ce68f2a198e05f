"""Calls through `hub__call_tool`: the same as direct ones, and guided where the arguments were wrong."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.support.clients import RawClient, raw_session
from tests.support.gateway import House, gateway, posted
from tests.support.raw_http import post
from tests.support.small_server import STATELESS, Answer, Call, Refused, SmallServer, small_server, text

pytestmark = pytest.mark.anyio
CALL = "hub__call_tool"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "Name of the city"},
        "days": {"type": "integer", "minimum": 1},
        "unit": {"enum": ["C", "F"]},
    },
    "required": ["city"],
}
HINTS = {
    "read": {"readOnlyHint": True},
    "write": {"destructiveHint": False},
    "destructive": {},
}


async def _picky(call: Call) -> Answer:
    """Refuses with an error what its schema does not allow."""
    if not isinstance(call.params["arguments"].get("city"), str):
        raise Refused(-32602, "Input validation error")
    return {**text("sunny"), "structuredContent": {"sky": "sunny"}}


async def _grumpy(call: Call) -> Answer:
    """Refuses with a result of its own; with no words about arguments where `days` is 99."""
    days = call.params["arguments"].get("days")
    words = "the sky is down" if days == 99 else "days out of range"
    return {**text(words), "isError": True, "extra": 1e5}


async def _slow(call: Call) -> Answer:
    call.progress(1)
    asked = await call.ask("elicitation/create", {"message": "Sure?", "requestedSchema": {"type": "object"}})
    return text(json.dumps(asked["result"]))


async def _stuck(call: Call) -> Answer:
    await call.cancelled.wait()
    return text("never")


def _tools() -> list[dict[str, Any]]:
    tools = [{"name": name, "description": name, "inputSchema": SCHEMA} for name in ("picky", "grumpy")]
    tools += [{"name": name, "inputSchema": {"type": "object"}} for name in ("slow", "stuck")]
    return tools + [
        {"name": name, "inputSchema": {"type": "object"}, "annotations": hints} for name, hints in HINTS.items()
    ]


class World:
    """A gateway in front of two servers that offer the same tools."""

    def __init__(self, house: House, servers: dict[str, SmallServer]) -> None:
        self.house = house
        self.servers = servers

    @property
    def stateless(self) -> RawClient:
        return RawClient(self.house.url)


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[World]:
    async with AsyncExitStack() as stack:
        servers = {
            "old": await stack.enter_async_context(small_server(*_tools())),
            "new": await stack.enter_async_context(small_server(*_tools(), era=STATELESS)),
        }
        for server in servers.values():
            server.handlers.update({"picky": _picky, "grumpy": _grumpy, "slow": _slow, "stuck": _stuck})
        urls = {name: {"url": server.url} for name, server in servers.items()}
        policy = {"enabled": True, "mode": "prompt-based"}
        built = gateway(urls, tmp_path_factory.mktemp("indirect"), filtering=policy)
        yield World(await stack.enter_async_context(built), servers)


def _through(name: str, arguments: object) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


async def _texts(client: RawClient, name: str, arguments: object) -> list[str]:
    """The texts of a result that is a failure."""
    result = (await client.call(CALL, _through(name, arguments))).json()["result"]
    assert result["isError"] is True
    return [block["text"] for block in result["content"]]


async def _send(session: RawClient, message: dict[str, Any]) -> None:
    """Send what is no request."""
    answer = await post(session.url, json.dumps(message).encode(), session.headers("", {}))
    assert answer.status == 202


@pytest.mark.parametrize("upstream", ("old", "new"))
async def test_a_result_passes_whole(world: World, upstream: str) -> None:
    through = (await world.stateless.call(CALL, _through(f"{upstream}__picky", {"city": "Paris"}))).json()["result"]
    assert through["structuredContent"] == {"sky": "sunny"}
    async with raw_session(world.house.url) as session:
        result = (await session.call(CALL, _through(f"{upstream}__picky", {"city": "Paris"}))).json()["result"]
        assert result["content"] == text("sunny")["content"]


@pytest.mark.parametrize("upstream", ("old", "new"))
async def test_an_error_about_arguments_is_followed_by_the_schema(world: World, upstream: str) -> None:
    said, guide = await _texts(world.stateless, f"{upstream}__picky", {"city": 5, "unit": "K"})
    assert said == "Input validation error"
    assert guide.startswith("city: must be of type string. unit: none of the choices. From the schema of")
    shown = json.loads(guide.partition(": {")[2].join(("{", "")))
    assert shown["properties"] == {name: SCHEMA["properties"][name] for name in ("city", "unit")}
    assert (shown["required"], shown["otherParameters"]) == (["city"], ["days"])


async def test_arguments_beside_the_name_are_missed(world: World) -> None:
    answer = (await world.stateless.call(CALL, {"name": "new__picky", "city": "Paris"})).json()["result"]
    assert answer["content"][1]["text"].startswith("city: required and missing.")


@pytest.mark.parametrize("arguments", ('{"city": "Paris"}', ["Paris"], None, 5))
async def test_arguments_that_are_no_object_are_never_sent(world: World, arguments: object) -> None:
    before = len(world.servers["new"].seen)
    (guide,) = await _texts(world.stateless, "new__picky", arguments)
    assert guide.startswith("`arguments` must be an object.")
    assert '"city"' in guide
    assert len(world.servers["new"].seen) == before


async def test_a_result_that_complains_keeps_its_own_words(world: World) -> None:
    result = (await world.stateless.call(CALL, _through("old__grumpy", {"city": "x", "days": 3}))).json()["result"]
    said, guide = (block["text"] for block in result["content"])
    assert said == "days out of range"
    assert '"days":{"type":"integer","minimum":1}' in guide
    assert result["extra"] == 1e5


async def test_a_failure_that_is_about_something_else_stays_as_it_is(world: World) -> None:
    assert await _texts(world.stateless, "old__grumpy", {"city": "x", "days": 99}) == ["the sky is down"]


@pytest.mark.parametrize("name", ("old__picky", "old__grumpy"))
async def test_a_direct_call_is_never_guided(world: World, name: str) -> None:
    await world.house.filtering()
    try:
        answer = (await world.stateless.call(name, {"days": "x"})).json()
        assert "schema" not in json.dumps(answer)
        assert answer.get("error", {}).get("code") == -32602 or len(answer["result"]["content"]) == 1
    finally:
        await world.house.filtering(enabled=True, mode="prompt-based")


async def test_an_unknown_name_is_told_the_nearest(world: World) -> None:
    error = (await world.stateless.call(CALL, _through("picky", {}))).json()["error"]
    assert error["message"] == "Unknown tool: picky; did you mean new__picky or old__picky?"


async def test_progress_and_questions_pass(world: World) -> None:
    async with raw_session(world.house.url, capabilities={"elicitation": {}}) as session:
        params = {"name": CALL, "arguments": _through("old__slow", {}), "_meta": {"progressToken": "mine"}}
        async with posted(
            world.house, session.body("tools/call", params), session.headers("tools/call", params)
        ) as stream:
            progress = await stream.next()
            assert progress["params"]["progressToken"] == "mine"
            question = await stream.next()
            answer = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "decline"}}
            await _send(session, answer)
            (result,) = await stream.rest()
        assert json.loads(result["result"]["content"][0]["text"]) == {"action": "decline"}


async def test_cancellation_passes(world: World) -> None:
    async with raw_session(world.house.url) as session:
        params = {"name": CALL, "arguments": _through("old__stuck", {})}
        body = session.body("tools/call", params, "to-be-cancelled")
        seen = len(world.servers["old"].seen)
        async with posted(world.house, body, session.headers("tools/call", params)):
            await world.servers["old"].saw(lambda message: message.get("params", {}).get("name") == "stuck")
            params = {"requestId": "to-be-cancelled"}
            await _send(session, {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})
            await world.servers["old"].saw_method("notifications/cancelled")
        assert len(world.servers["old"].seen) > seen


@pytest.mark.parametrize("word", HINTS)
async def test_a_variant_takes_only_the_tools_that_are_so(world: World, word: str) -> None:
    await world.house.filtering(enabled=True, mode="prompt-based", promptBasedFiltering={"callVariants": True})
    try:
        names = {tool["name"] for tool in (await world.stateless.request("tools/list")).json()["result"]["tools"]}
        assert {f"{CALL}_{each}" for each in HINTS} <= names
        assert CALL not in names
        right = f"{CALL}_{word}"
        answer = (await world.stateless.call(right, _through(f"old__{word}", {}))).json()["result"]
        assert json.loads(answer["content"][0]["text"])["name"] == word
        for other in (CALL, *(f"{CALL}_{each}" for each in HINTS if each != word)):
            error = (await world.stateless.call(other, _through(f"old__{word}", {}))).json()["error"]
            assert error == {
                "code": -32602,
                "message": f"old__{word} is called through {right}, not {other}",
            }
        found = (await world.stateless.call("hub__search_tools", {"query": word})).json()["result"]
        assert f"[{word}] old__{word}(" in found["content"][0]["text"]
    finally:
        await world.house.filtering(enabled=True, mode="prompt-based")
