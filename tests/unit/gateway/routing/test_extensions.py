"""What only the two ends know passes between them: methods, notifications and questions of extensions."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from tests.support import raw_http
from tests.support.clients import RawClient, raw_session
from tests.support.gateway import House, gateway, posted, standing
from tests.support.small_server import (
    HANDSHAKE,
    STATELESS,
    Answer,
    Call,
    Refused,
    SmallServer,
    small_server,
    text,
    tool,
)

pytestmark = pytest.mark.anyio
METHOD = "com.example/weigh"
NOTE = "notifications/com.example/tared"
DECLARED: dict[str, Any] = {"experimental": {"com.example/scales": {}}}
ONLY: dict[str, Any] = {"mode": "allowlist", "servers": ["plain"]}
EXTENDED: dict[str, Any] = {"extensions": {"com.example/scales": {}}}


async def _weighs(call: Call) -> Answer:
    return {"weight": 1e5, "params": {key: each for key, each in call.params.items() if key != "_meta"}}


async def _knows_nothing(_: Call) -> Answer:
    raise Refused(-32601, "Method not found")


class Scales:
    """A gateway in front of a server with an extension, one with another, and one with none."""

    def __init__(self, house: House, servers: dict[str, SmallServer]) -> None:
        self.house = house
        self.servers = servers

    def asked(self, name: str) -> int:
        """How often a server was asked for the method."""
        return [each.get("method") for each in self.servers[name].seen].count(METHOD)


@pytest.fixture(params=[HANDSHAKE, STATELESS])
async def scales(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Scales]:
    era: str = request.param
    resources = [{"uri": "x:1", "name": "x"}]
    async with (
        small_server(tool("work"), era=era) as other,
        small_server(tool("work"), era=era, resources=resources) as able,
        small_server(tool("work"), era=era) as plain,
    ):
        other.capabilities = able.capabilities = EXTENDED if era == STATELESS else DECLARED
        other.handlers[METHOD] = plain.handlers[METHOD] = _knows_nothing
        able.handlers[METHOD] = _weighs
        servers = {"other": other, "able": able, "plain": plain}
        async with gateway(
            {name: {"url": each.url} for name, each in servers.items()}, tmp_path_factory.mktemp("scales")
        ) as house:
            yield Scales(house, servers)


async def test_a_method_nobody_knows_is_asked_of_who_declares_something(scales: Scales) -> None:
    async with raw_session(scales.house.url) as session:
        for client in (session, RawClient(scales.house.url)):
            told = (await client.request(METHOD, {"thing": 1})).json()["result"]
            assert (told["weight"], told["params"]) == (1e5, {"thing": 1})
            unknown = await client.request("com.example/other", {})
            assert unknown.json().get("error", {}).get("code") in (None, -32601)
    assert scales.asked("plain") == 0, "it declares nothing"


async def test_a_method_about_an_entry_goes_to_its_owner_under_its_own_name(scales: Scales) -> None:
    async with raw_session(scales.house.url) as session:
        for client in (session, RawClient(scales.house.url)):
            for params, local in (
                ({"name": "able__work"}, {"name": "work"}),
                ({"uri": "able__x:1"}, {"uri": "x:1"}),
            ):
                assert (await client.request(METHOD, params)).json()["result"]["params"] == local
            refused = (await client.request(METHOD, {"name": "other__work"})).json()
            assert refused["error"]["code"] == -32601
    assert scales.asked("able") == 4


async def test_what_the_view_hides_is_not_asked(scales: Scales) -> None:
    await scales.house.filtering(enabled=True, mode="server-allowlist", serverFilter=ONLY)
    answer = await RawClient(scales.house.url).request(METHOD, {})
    assert (answer.status, answer.json()["error"]["code"]) == (404, -32601)
    assert scales.asked("able") == 0


# In 2026-07-28 a client over HTTP has no notifications, and a server asks for three things only (patterns/mrtr).
@pytest.mark.parametrize("scales", [HANDSHAKE], indirect=True)
async def test_notifications_of_an_extension_pass_both_ways(scales: Scales) -> None:
    able, plain = scales.servers["able"], scales.servers["plain"]
    async with raw_session(scales.house.url) as client, standing(scales.house, client.session_id) as stream:
        body = json.dumps({"jsonrpc": "2.0", "method": NOTE, "params": {"n": 1}}).encode()
        assert (await raw_http.post(client.url, body, client.headers("", {}))).status == 202
        assert (await able.saw_method(NOTE))["params"] == {"n": 1}
        assert not [each for each in plain.seen if each.get("method") == NOTE]
        able.tell(NOTE, n=2)
        told = (await stream.until(lambda message: message["method"] == NOTE))[-1]
        assert told["params"] == {"n": 2}


@pytest.mark.parametrize("scales", [HANDSHAKE], indirect=True)
@pytest.mark.parametrize("declared", (DECLARED, {}))
async def test_a_client_with_extensions_is_asked_by_their_methods(scales: Scales, declared: dict[str, Any]) -> None:
    able = scales.servers["able"]

    async def asks(call: Call) -> Answer:
        answer = await call.ask("com.example/look", {"at": 1})
        return text(json.dumps(answer.get("result", answer.get("error", {}).get("code"))))

    able.handlers["work"] = asks
    async with raw_session(scales.house.url, capabilities=declared) as client:
        params = {"name": "able__work"}
        headers = client.headers("tools/call", params)
        if not declared:
            assert (await client.call("able__work")).json()["result"] == text("-32601")
            return
        async with posted(scales.house, client.body("tools/call", params), headers) as stream:
            question = await stream.next()
            assert (question["method"], question["params"]) == ("com.example/look", {"at": 1})
            body = json.dumps({"jsonrpc": "2.0", "id": question["id"], "result": {"seen": True}}).encode()
            await raw_http.post(client.url, body, headers)
            assert (await stream.next())["result"] == text('{"seen": true}')
