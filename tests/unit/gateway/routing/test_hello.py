"""How a conversation begins: what the hub says of itself and of the servers behind it, in both eras."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from hub_gateway.routing.hello import OWN_CAPABILITIES
from hub_gateway.wire.revisions import REVISIONS
from tests.support import raw_http
from tests.support.clients import INFO, RawClient, raw_session
from tests.support.gateway import House, gateway
from tests.support.small_server import small_server, tool

pytestmark = pytest.mark.anyio
EXPERIMENT: dict[str, Any] = {"com.example/a": {"n": 1e5}, "com.example/both": {"of": "one"}}


@pytest.fixture(scope="module")
async def built(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[House]:
    async with small_server(tool("x")) as one, small_server(tool("y")) as two, small_server() as three:
        one.instructions, two.instructions = "Use x first.", "Use y last."
        three.instructions = "I have nothing to show."
        one.capabilities = {"experimental": EXPERIMENT}
        two.capabilities = {
            "experimental": {"com.example/both": {"of": "two"}},
            "extensions": {"com.example/e": {}},
            "x-other": {"not": "passed"},
        }
        servers = {name: {"url": server.url} for name, server in (("one", one), ("two", two), ("three", three))}
        async with gateway(servers, tmp_path_factory.mktemp("hello")) as house:
            yield house


@pytest.fixture
async def house(built: House) -> House:
    """Nothing filtered."""
    await built.filtering()
    return built


async def hello(house: House) -> dict[str, Any]:
    """The result of `initialize`."""
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": INFO}
    answer = await raw_http.post(house.url, RawClient(house.url, "x").body("initialize", params, 1))
    return answer.json()["result"]


async def discover(house: House) -> dict[str, Any]:
    """The result of `server/discover`."""
    return (await RawClient(house.url).request("server/discover")).json()["result"]


async def test_both_eras_are_told_the_same(house: House) -> None:
    opened, discovered = await hello(house), await discover(house)
    assert opened["capabilities"] == discovered["capabilities"]
    assert opened["instructions"] == discovered["instructions"] == "## one\n\nUse x first.\n\n## two\n\nUse y last."
    assert discovered["supportedVersions"] == list(REVISIONS)
    assert discovered["resultType"] == "complete"
    assert {"ttlMs", "cacheScope"} <= discovered.keys()
    assert opened["serverInfo"] == discovered["_meta"]["io.modelcontextprotocol/serverInfo"]
    assert opened["serverInfo"]["name"] == "mcp-hub"


async def test_capabilities_are_the_hub_s_own_and_the_union_of_the_rest(house: House) -> None:
    capabilities = (await hello(house))["capabilities"]
    assert capabilities == {
        **OWN_CAPABILITIES,
        "experimental": EXPERIMENT,
        "extensions": {"com.example/e": {}},
    }


async def test_what_an_upstream_says_of_an_extension_keeps_its_bytes(house: House) -> None:
    answer = await RawClient(house.url).request("server/discover")
    assert b'"com.example/a":{"n": 100000.0}' in answer.body


async def test_an_upstream_that_is_hidden_says_nothing_to_the_client(house: House) -> None:
    await house.filtering(enabled=True, mode="server-allowlist", serverFilter={"mode": "allowlist", "servers": ["two"]})
    for said in (await hello(house), await discover(house)):
        assert said["instructions"] == "## two\n\nUse y last."
        assert said["capabilities"]["experimental"] == {"com.example/both": {"of": "two"}}
    await house.filtering(enabled=True, mode="server-allowlist", serverFilter={"mode": "allowlist", "servers": []})
    assert "instructions" not in await discover(house)


async def test_a_gateway_without_servers_greets_all_the_same(tmp_path: Path) -> None:
    async with gateway({}, tmp_path) as house:
        opened = await hello(house)
        assert opened["capabilities"] == OWN_CAPABILITIES
        assert "instructions" not in opened
        async with raw_session(house.url) as client:
            assert (await client.request("tools/list")).json()["result"] == {"tools": []}


@pytest.mark.parametrize("level", (None, 5, "loud", ""))
async def test_a_level_nobody_knows_is_refused(house: House, level: object) -> None:
    async with raw_session(house.url) as client:
        answer = (await client.request("logging/setLevel", {"level": level})).json()
        assert answer["error"]["code"] == -32602
        assert house.session(client.session_id).log_level is None
