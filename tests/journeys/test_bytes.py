"""Bytes stay bytes: what the hub need not understand it forwards as it came."""

import json
from functools import partial
from typing import Any, Final

import pytest

from tests.journeys import matrix
from tests.journeys.conftest import LONG
from tests.journeys.matrix import BOTH_RAW_UPSTREAMS, RAW_UPSTREAMS, Cell
from tests.support.raw_messages import DEFINITION, ERROR, EXOTIC, SPECIAL_TOOLS

pytestmark = pytest.mark.anyio
journey = partial(matrix.journey, upstreams=(*RAW_UPSTREAMS, *BOTH_RAW_UPSTREAMS))

ARGUMENTS = (
    b'{"z":1E5, "a" : 12345678901234567890,"one":1.0,"neg":-0.0,"text":"\\u00e9\\/\\ud83d\\ude00 \xc3\xa9",'
    b'"nested":[[{"":null}],1e-7],"_meta":{"progressToken":7},"name":"not the tool"}'
)
IDS: Final = (b'"a \\u00e9 id"', b"7000", b"9007199254740993", b'""', b"-3", rb'"half \ud83d an emoji"')


@journey("result-bytes")
async def test_a_result_is_forwarded_as_it_came(cell: Cell) -> None:
    async with cell.speaking() as client:
        answer = await client.call(cell.name("raw_exotic"))
        over_sse = await client.call(cell.name("raw_sse"))
    for each in (answer, over_sse):
        assert b'"structuredContent":' + EXOTIC + b',"com.example/unknown":' + EXOTIC in each.message_raw


@journey("argument-bytes")
async def test_arguments_are_forwarded_as_they_came(cell: Cell) -> None:
    async with cell.speaking() as client:
        answer = await client.call_raw(cell.name("raw_echo"), ARGUMENTS)
    assert b'"structuredContent":{"echo":' + ARGUMENTS + b"}" in answer.message_raw


@journey("meta")
async def test_meta_of_a_request_reaches_the_server(cell: Cell) -> None:
    params: dict[str, Any] = {"name": cell.name("raw_exotic"), "arguments": {}, "_meta": {"com.example/mark": "@@"}}
    async with cell.speaking() as client:
        body = client.body("tools/call", params).replace(b'"@@"', EXOTIC)
        await client.send(body, "tools/call", params)
        seen = (await client.call(cell.name("raw_seen"))).json()["result"]["structuredContent"]["seen"]
    (call,) = [each for each in seen if "com.example/mark" in each and "raw_exotic" in each][-1:]
    assert '"com.example/mark":' + EXOTIC.decode() in call


@journey("error-bytes")
async def test_an_error_is_forwarded_as_it_came(cell: Cell) -> None:
    async with cell.speaking() as client:
        answer = await client.call(cell.name("raw_error"))
    assert b'"error":' + ERROR in answer.message_raw


@journey("definition-bytes", "all-pages")
async def test_definitions_of_all_pages_are_forwarded_as_they_came(cell: Cell) -> None:
    raw = b""
    async with cell.speaking() as client:
        cursor: dict[str, str] = {}
        while True:
            answer = await client.request("tools/list", cursor)
            raw += answer.message_raw
            following = answer.json()["result"].get("nextCursor")
            if following is None:
                break
            cursor = {"cursor": following}
    for local in (b"raw_exotic", b"tool_00000", b"tool_00039"):
        public = cell.upstream.encode() + b"__" + local
        expected = (DEFINITION % (local, local, EXOTIC)).replace(b'"name":"' + local, b'"name":"' + public)
        assert raw.count(expected) == 1, local


@journey("all-pages")
async def test_every_page_of_every_list_is_read(cell: Cell) -> None:
    async with cell.speaking() as client:
        lists = {
            method: (await client.request(method)).message_raw
            for method in ("prompts/list", "resources/list", "resources/templates/list")
        }
    prefix = cell.upstream.encode() + b"__"
    for n in range(7):
        assert lists["prompts/list"].count(b'{"name":"%sprompt_%d","x-n":1E5}' % (prefix, n)) == 1
        assert lists["resources/list"].count(b'{"uri":"raw://%sr/%d","name":"r%d","x-n":1E5}' % (prefix, n, n)) == 1
        template = b'{"uriTemplate":"raw://%st/%d/{id}","name":"t%d","x-n":1E5}' % (prefix, n, n)
        assert lists["resources/templates/list"].count(template) == 1


@journey("client-id")
async def test_the_client_s_id_comes_back_as_it_was(cell: Cell) -> None:
    params: dict[str, Any] = {"name": cell.name("raw_exotic"), "arguments": {}}
    async with cell.speaking() as client:
        for client_id in IDS:
            body = client.body("tools/call", params, "@@").replace(b'"@@"', client_id)
            answer = await client.send(body, "tools/call", params)
            assert b'"id":' + client_id in answer.message_raw.replace(b'"id": ', b'"id":')
            assert json.loads(answer.message_raw)["id"] == json.loads(client_id)


@journey("name-length")
async def test_a_long_server_name_gives_names_that_are_short_enough(cell: Cell) -> None:
    safe = "".join(c if c.isascii() and c.isalnum() else "_" for c in LONG)
    async with cell.speaking() as client:
        listed = (await client.request("tools/list")).json()["result"]["tools"]
        own = [tool["name"] for tool in listed if tool["name"].startswith(safe[:40])]
        assert len(own) == len(SPECIAL_TOOLS) + 3
        assert all(len(name) <= 64 for name in own)
        name = next(tool["name"] for tool in listed if tool["name"] in own and "raw_echo" in tool["description"])
        answer = await client.call_raw(name, b'{"a":1E5}')
    assert b'{"echo":{"a":1E5}}' in answer.message_raw
