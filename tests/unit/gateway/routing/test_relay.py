"""What an upstream says beside its answers reaches whom it concerns, at the level they asked for."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from tests.support.clients import RawClient, raw_session
from tests.support.gateway import House, gateway, heard_before, posted, standing
from tests.support.small_server import Answer, Call, SmallServer, small_server, text, tool

pytestmark = pytest.mark.anyio
RESOURCE = {"uri": "x:1", "name": "x"}
UPDATED = "notifications/resources/updated"


class Talk:
    """A gateway and the server that talks."""

    def __init__(self, house: House, server: SmallServer) -> None:
        self.house = house
        self.server = server

    async def delivered(self) -> None:
        """Wait until all that the server said has come through: a change of a list comes after it."""
        self.server.lists["prompts"] = [{"name": f"p{len(self.server.seen)}"}]
        current = self.house.gateway.current
        before = current.exposure.catalog.digest
        self.server.tell("notifications/prompts/list_changed")
        await self.house.published(lambda _: current.exposure.catalog.digest != before, "the change came through")


async def _logs(call: Call) -> Answer:
    for level in ("debug", "info", "error", "loud"):
        call.tell("notifications/message", level=level, data={"n": 1e5})
    return text("said")


@pytest.fixture(scope="module")
async def talk(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Talk]:
    async with small_server(tool("log"), resources=[RESOURCE]) as server:
        server.handlers["log"] = _logs
        async with gateway({"a": {"url": server.url}}, tmp_path_factory.mktemp("talk")) as house:
            yield Talk(house, server)


def levels(messages: list[dict[str, Any]]) -> list[str]:
    """The levels of the log messages among them."""
    return [each["params"]["level"] for each in messages if each.get("method") == "notifications/message"]


@pytest.mark.parametrize(
    ("wanted", "heard"),
    ((None, ["debug", "info", "error", "loud"]), ("info", ["info", "error", "loud"]), ("alert", ["loud"])),
)
async def test_a_session_hears_its_call_s_logs_at_its_level(talk: Talk, wanted: str | None, heard: list[str]) -> None:
    async with raw_session(talk.house.url) as client:
        if wanted is not None:
            assert (await client.request("logging/setLevel", {"level": wanted})).json()["result"] == {}
        params = {"name": "a__log"}
        async with posted(
            talk.house, client.body("tools/call", params), client.headers("tools/call", params)
        ) as stream:
            assert levels(await stream.rest()) == heard


@pytest.mark.parametrize(("wanted", "heard"), ((None, []), ("info", ["info", "error", "loud"])))
async def test_a_stateless_client_hears_logs_it_asked_for_only(
    talk: Talk, wanted: str | None, heard: list[str]
) -> None:
    client = RawClient(talk.house.url)
    meta = {} if wanted is None else {"io.modelcontextprotocol/logLevel": wanted}
    params = {"name": "a__log", "_meta": meta}
    answer = await client.request("tools/call", params)
    messages = [json.loads(line[6:]) for line in answer.body.split(b"\r\n") if line.startswith(b"data: {")]
    assert levels(messages) == heard


async def test_logs_of_no_call_go_to_sessions_that_set_a_level(talk: Talk) -> None:
    async with raw_session(talk.house.url) as loud, raw_session(talk.house.url) as quiet:
        await loud.request("logging/setLevel", {"level": "warning"})
        async with (
            standing(talk.house, loud.session_id) as heard,
            standing(talk.house, quiet.session_id) as nothing,
        ):
            talk.server.tell("notifications/message", level="info", data="no")
            talk.server.tell("notifications/message", level="error", data="yes")
            talk.server.tell("notifications/unheard/of", x=1)
            talk.server.tell("notifications/progress", progressToken=99, progress=1)
            await talk.delivered()
            assert await heard_before(talk.house, loud.session_id, heard) == [
                "notifications/message",
                "notifications/unheard/of",
                "notifications/prompts/list_changed",
            ]
            assert await heard_before(talk.house, quiet.session_id, nothing) == [
                "notifications/unheard/of",
                "notifications/prompts/list_changed",
            ]


async def test_updates_reach_who_subscribed_under_the_uri_they_used(talk: Talk) -> None:
    async with raw_session(talk.house.url) as one, raw_session(talk.house.url) as other:
        await one.request("resources/subscribe", {"uri": "a__x:1"})
        await talk.server.saw_method("resources/subscribe")
        async with standing(talk.house, one.session_id) as heard, standing(talk.house, other.session_id) as quiet:
            talk.server.tell(UPDATED, uri="x:2")
            talk.server.tell(UPDATED, uri="x:1", title="new")
            told = await heard.next()
            assert (told["method"], told["params"]) == (UPDATED, {"uri": "a__x:1", "title": "new"})
            assert UPDATED not in await heard_before(talk.house, other.session_id, quiet)
            await one.request("resources/unsubscribe", {"uri": "a__x:1"})
            await talk.server.saw_method("resources/unsubscribe")
            talk.server.tell(UPDATED, uri="x:1")
            await talk.delivered()
            assert UPDATED not in await heard_before(talk.house, one.session_id, heard)


async def test_a_stateless_listener_hears_updates_with_its_subscription(talk: Talk) -> None:
    client = RawClient(talk.house.url)
    talk.server.seen.clear()
    params = {"notifications": {"resourceSubscriptions": ["x:1"]}}
    body = client.body("subscriptions/listen", params, 42)
    async with posted(talk.house, body, client.headers("subscriptions/listen", params)) as stream:
        acknowledged = await stream.next()
        assert acknowledged["params"]["notifications"] == {"resourceSubscriptions": ["x:1"]}
        await talk.server.saw_method("resources/subscribe")
        talk.server.tell(UPDATED, uri="x:1")
        told = await stream.next()
        assert told["params"] == {"_meta": {"io.modelcontextprotocol/subscriptionId": 42}, "uri": "x:1"}
    await talk.server.saw_method("resources/unsubscribe")


async def test_a_subscription_is_made_again_when_its_upstream_is_back(talk: Talk) -> None:
    async with raw_session(talk.house.url) as client:
        await client.request("resources/subscribe", {"uri": "x:1"})
        await talk.server.saw_method("resources/subscribe")
        await talk.house.gateway.fleet.stop("a")
        talk.server.seen.clear()
        await talk.house.gateway.fleet.start("a")
        await talk.house.ready("a")
        assert (await talk.server.saw_method("resources/subscribe"))["params"]["uri"] == "x:1"
