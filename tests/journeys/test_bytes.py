"""Bytes stay bytes: what the hub need not understand it forwards as it came."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.journeys.conftest import LONG, RAW_UPSTREAMS
from tests.journeys.matrix import proves
from tests.support import raw_http
from tests.support.clients import RawClient, raw_session
from tests.support.hub import Hub
from tests.support.raw_messages import DEFINITION, ERROR, EXOTIC, SPECIAL_TOOLS

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("upstream", RAW_UPSTREAMS),
    pytest.mark.parametrize("era", ("handshake", "stateless")),
]

ARGUMENTS = (
    b'{"z":1E5, "a" : 12345678901234567890,"one":1.0,"neg":-0.0,"text":"\\u00e9\\/\\ud83d\\ude00 \xc3\xa9",'
    b'"nested":[[{"":null}],1e-7],"_meta":{"progressToken":7},"name":"not the tool"}'
)


@asynccontextmanager
async def speaking(hub: Hub, era: str) -> AsyncGenerator[RawClient]:
    """A raw client of this era."""
    if era == "stateless":
        yield RawClient(hub.url)
        return
    async with raw_session(hub.url) as client:
        yield client


@proves("result-bytes")
async def test_a_result_is_forwarded_as_it_came(hub: Hub, upstream: str, era: str) -> None:
    async with speaking(hub, era) as client:
        answer = await client.call(f"{upstream}__raw_exotic")
        over_sse = await client.call(f"{upstream}__raw_sse")
    for each in (answer, over_sse):
        assert each.status == 200, each
        assert b'"structuredContent":' + EXOTIC + b',"com.example/unknown":' + EXOTIC in each.message_raw


@proves("argument-bytes")
async def test_arguments_are_forwarded_as_they_came(hub: Hub, upstream: str, era: str) -> None:
    async with speaking(hub, era) as client:
        answer = await client.call_raw(f"{upstream}__raw_echo", ARGUMENTS)
    assert b'"structuredContent":{"echo":' + ARGUMENTS + b"}" in answer.message_raw


@proves("error-bytes")
async def test_an_error_is_forwarded_as_it_came(hub: Hub, upstream: str, era: str) -> None:
    async with speaking(hub, era) as client:
        answer = await client.call(f"{upstream}__raw_error")
    assert b'"error":' + ERROR in answer.message_raw


@proves("definition-bytes", "all-pages")
async def test_definitions_of_all_pages_are_forwarded_as_they_came(hub: Hub, upstream: str, era: str) -> None:
    raw = b""
    async with speaking(hub, era) as client:
        cursor: dict[str, str] = {}
        while True:
            answer = await client.request("tools/list", cursor)
            raw += answer.message_raw
            following = answer.json()["result"].get("nextCursor")
            if following is None:
                break
            cursor = {"cursor": following}
    for local in (b"raw_exotic", b"tool_00000", b"tool_00039"):
        public = upstream.encode() + b"__" + local
        expected = (DEFINITION % (local, local, EXOTIC)).replace(b'"name":"' + local, b'"name":"' + public)
        assert raw.count(expected) == 1, local


@proves("all-pages")
async def test_every_page_of_every_list_is_read(hub: Hub, upstream: str, era: str) -> None:
    async with speaking(hub, era) as client:
        lists = {
            method: (await client.request(method)).message_raw
            for method in ("prompts/list", "resources/list", "resources/templates/list")
        }
    prefix = upstream.encode() + b"__"
    for n in range(7):
        assert lists["prompts/list"].count(b'{"name":"%sprompt_%d","x-n":1E5}' % (prefix, n)) == 1
        assert lists["resources/list"].count(b'{"uri":"%sraw://r/%d","name":"r%d","x-n":1E5}' % (prefix, n, n)) == 1
        template = b'{"uriTemplate":"%sraw://t/%d/{id}","name":"t%d","x-n":1E5}' % (prefix, n, n)
        assert lists["resources/templates/list"].count(template) == 1


@proves("client-id")
@pytest.mark.parametrize("client_id", (b'"a \\u00e9 id"', b"0", b"9007199254740993", b'""', b"-3"))
async def test_the_client_s_id_comes_back_as_it_was(hub: Hub, upstream: str, era: str, client_id: bytes) -> None:
    async with speaking(hub, era) as client:
        params: dict[str, Any] = {"name": f"{upstream}__raw_exotic", "arguments": {}}
        body = client.body("tools/call", params, "@@").replace(b'"@@"', client_id)
        answer = await raw_http.post(hub.url, body, client.headers("tools/call", params))
    assert b'"id":' + client_id in answer.message_raw.replace(b'"id": ', b'"id":')
    assert json.loads(answer.message_raw)["id"] == json.loads(client_id)


@proves("name-length")
async def test_a_long_server_name_gives_names_that_are_short_enough(hub: Hub, upstream: str, era: str) -> None:
    del upstream
    safe = "".join(c if c.isascii() and c.isalnum() else "_" for c in LONG)
    async with speaking(hub, era) as client:
        listed = (await client.request("tools/list")).json()["result"]["tools"]
        own = [tool["name"] for tool in listed if tool["name"].startswith(safe[:40])]
        assert len(own) == len(SPECIAL_TOOLS) + 3
        assert all(len(name) <= 64 for name in own)
        name = next(tool["name"] for tool in listed if tool["name"] in own and "raw_echo" in tool["description"])
        answer = await client.call_raw(name, b'{"a":1E5}')
    assert b'{"echo":{"a":1E5}}' in answer.message_raw
