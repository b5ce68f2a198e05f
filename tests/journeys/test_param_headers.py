"""Parameters that are mirrored into HTTP headers, on the side of the client and on that of the server."""

from typing import Any

import pytest

from tests.journeys.matrix import BOTH_RAW_UPSTREAMS, RAW_UPSTREAMS, Cell, journey, proves
from tests.support.clients import RawClient, all_tools, raw_session
from tests.support.hub import Hub
from tests.support.raw_http import Answer

MISMATCH = -32020
ARGUMENTS: dict[str, Any] = {
    "region": "H\u00e9llo ",
    "count": -7,
    "flag": False,
    "plain": "not mirrored",
    "where": {"zone": "=?base64?x?="},
}
HEADERS = {
    "mcp-param-region": "=?base64?SMOpbGxvIA==?=",
    "mcp-param-count": "-7",
    "mcp-param-flag": "false",
    "mcp-param-deep-zone": "=?base64?PT9iYXNlNjQ/eD89?=",
}
REFUSED: tuple[tuple[dict[str, Any], dict[str, str]], ...] = (
    ({"region": "us"}, {}),
    ({"region": "us"}, {"Mcp-Param-Region": "eu"}),
    ({"region": "us"}, {"Mcp-Param-Region": "US"}),
    ({"region": None}, {"Mcp-Param-Region": "us"}),
    ({}, {"Mcp-Param-Region": "us"}),
    ({"count": 1}, {"Mcp-Param-Count": "2"}),
    ({"count": 1}, {"Mcp-Param-Count": "1x"}),
    ({"flag": True}, {"Mcp-Param-Flag": "True"}),
    ({"where": {"zone": "a"}}, {}),
    ({"region": "us"}, {"Mcp-Param-Region": "=?base64?!!!?="}),
    ({"region": "\u00e9"}, {"Mcp-Param-Region": "\u00e9"}),
)

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")]


async def _call(
    client: RawClient, upstream: str, arguments: dict[str, Any], headers: dict[str, str] | None = None
) -> Answer:
    params = {"name": f"{upstream}__raw_headers", "arguments": arguments}
    return await client.request("tools/call", params, headers=headers)


def _seen(answer: Answer) -> dict[str, str]:
    body = answer.json()
    assert "result" in body, body
    headers: dict[str, str] = body["result"]["structuredContent"]["headers"]
    return {name: value for name, value in headers.items() if name.startswith("mcp-")}


@proves("param-headers-out")
async def test_a_stateless_server_over_http_gets_the_headers(hub: Hub) -> None:
    async with raw_session(hub.url) as client:
        seen = _seen(await _call(client, "raw_http", ARGUMENTS))
        assert seen == {
            **HEADERS,
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": "tools/call",
            "mcp-name": "raw_headers",
        }
        some = _seen(await _call(client, "raw_http", {"region": None, "count": 9007199254740991, "where": {}}))
        assert {name: value for name, value in some.items() if "param" in name} == {
            "mcp-param-count": "9007199254740991"
        }


@proves("param-headers-out")
async def test_a_server_with_sessions_gets_none(hub: Hub) -> None:
    async with raw_session(hub.url) as client:
        seen = _seen(await _call(client, "raw_http_old", ARGUMENTS))
    assert set(seen) == {"mcp-protocol-version", "mcp-session-id"}


@journey("param-headers-in", upstreams=(*RAW_UPSTREAMS, *BOTH_RAW_UPSTREAMS))
async def test_headers_that_say_what_the_body_says_are_let_through(cell: Cell) -> None:
    client, upstream = RawClient(cell.hub.url), cell.upstream
    assert (await _call(client, upstream, ARGUMENTS, HEADERS)).status == 200
    assert (await _call(client, upstream, {}, {"Mcp-Param-Other": "somebody else's"})).status == 200
    assert (await _call(client, upstream, {"count": 42}, {"Mcp-Param-Count": "42.0"})).status == 200
    spelled = {"MCP-PARAM-REGION": "=?base64?dXM=?="}
    assert (await _call(client, upstream, {"region": "us"}, spelled)).status == 200


@journey("param-headers-in", upstreams=(*RAW_UPSTREAMS, *BOTH_RAW_UPSTREAMS))
async def test_headers_that_say_another_thing_are_refused(cell: Cell) -> None:
    for arguments, headers in REFUSED:
        answer = await _call(RawClient(cell.hub.url), cell.upstream, arguments, headers)
        assert answer.status == 400, (arguments, headers)
        assert answer.json()["error"]["code"] == MISMATCH


@proves("param-headers-in")
async def test_a_session_sends_none_and_is_let_through(hub: Hub) -> None:
    async with raw_session(hub.url) as client:
        assert (await _call(client, "raw_stdio", ARGUMENTS)).status == 200


@journey("param-headers-out", upstreams=("raw_http", "both_raw_http"))
async def test_the_sdk_s_clients_call_such_a_tool(cell: Cell) -> None:
    async with cell.client() as client:
        tools = await all_tools(client)
        assert tools[cell.name("raw_headers")].input_schema["properties"]["region"]["x-mcp-header"] == "Region"
        result = await client.call_tool(cell.name("raw_headers"), ARGUMENTS)
    assert result.structured_content is not None
    assert HEADERS.items() <= result.structured_content["headers"].items()
