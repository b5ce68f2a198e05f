"""A name of a server that is only coming is not told to be nobody's, unless the policy hides it."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from hub_gateway.catalog.snapshot import Catalog
from hub_gateway.config.load import load
from hub_gateway.errors import UnknownEntry
from hub_gateway.exposure.current import SETTLING_MS, Exposure
from hub_gateway.routing.coming import unknown
from tests.support.clients import RawClient, raw_session
from tests.support.gateway import House, gateway
from tests.support.small_server import small_server, tool

pytestmark = pytest.mark.anyio
SILENT: dict[str, Any] = {"command": sys.executable, "args": ["-c", "import sys; sys.stdin.read()"]}


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[House]:
    """A gateway in front of a server that is there, and of one that does not answer yet."""
    async with small_server(tool("work")) as there:
        servers: dict[str, Any] = {"there": {"url": there.url}}
        async with gateway(servers, tmp_path_factory.mktemp("coming")) as made:
            servers["late.one"] = {**SILENT, "prefix": "late"}
            path = made.directory / "mcp-servers.json"
            path.write_text(json.dumps({"mcpServers": servers}))
            await made.gateway.apply(load([path]))
            yield made


async def _told(house: House, method: str, params: dict[str, Any]) -> set[tuple[int, str]]:
    async with raw_session(house.url) as session:
        answers = [(await client.request(method, params)).json() for client in (session, RawClient(house.url))]
    return {(answer["error"]["code"], answer["error"]["message"]) for answer in answers}


@pytest.mark.parametrize("name", ["late__work", "late_one__work"])
async def test_what_is_coming_is_said_to_be(house: House, name: str) -> None:
    await house.filtering()
    assert await _told(house, "tools/call", {"name": name}) == {(-32000, "late.one is connecting")}
    assert await _told(house, "prompts/get", {"name": name}) == {(-32000, "late.one is connecting")}
    await house.filtering(mode="prompt-based", enabled=True)
    through = {"name": "hub__call_tool", "arguments": {"name": name, "arguments": {}}}
    assert await _told(house, "tools/call", through) == {(-32000, "late.one is connecting")}


@pytest.mark.parametrize("own_prefixes", [{}, {"there": "there", "late.one": "late_one"}], ids=["nothing", "others"])
async def test_what_has_come_and_is_not_published_yet_is_said_to_be_coming(
    house: House, own_prefixes: dict[str, str]
) -> None:
    before = Exposure(Catalog([], own_prefixes))
    fault = unknown(before, house.gateway.fleet.supervisors, "there__work", "Unknown tool: there__work")
    assert str(fault) == "there is connecting: what it offers is not listed yet"
    fault = unknown(before, house.gateway.fleet.supervisors, "late_one__work", "Unknown tool: late_one__work")
    assert str(fault) == "late.one is connecting"
    assert isinstance(unknown(before, house.gateway.fleet.supervisors, "nobody__work", "Unknown tool"), UnknownEntry)


async def test_a_list_is_not_fresh_for_long_while_a_server_is_still_to_come(house: House) -> None:
    await house.filtering()
    client = RawClient(house.url)
    assert (await client.request("tools/list")).json()["result"]["ttlMs"] == SETTLING_MS
    await house.gateway.fleet.stop("late.one")
    await house.settled()
    try:
        assert (await client.request("tools/list")).json()["result"]["ttlMs"] == 60_000
    finally:
        await house.gateway.fleet.start("late.one")


@pytest.mark.parametrize(
    ("policy", "name"),
    [
        ({}, "there__other"),
        ({}, "lat__work"),
        ({"mode": "server-allowlist", "serverFilter": {"mode": "allowlist", "servers": ["there"]}}, "late__work"),
        ({"mode": "server-allowlist", "serverFilter": {"mode": "denylist", "servers": ["late.one"]}}, "late__work"),
        ({"tools": {"deny": ["late__*"]}}, "late__work"),
        ({"tools": {"allow": ["late__rest", "there__*"]}}, "late__work"),
    ],
)
async def test_what_is_nobodys_or_hidden_is_unknown(house: House, policy: dict[str, Any], name: str) -> None:
    await house.filtering(**policy, **({"enabled": True} if "mode" in policy else {}))
    assert await _told(house, "tools/call", {"name": name}) == {(-32602, f"Unknown tool: {name}")}
