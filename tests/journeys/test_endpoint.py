"""The endpoint itself: sessions, revisions and the methods an era does not have."""

from typing import Final

import pytest

from tests.journeys.matrix import HTTP_UPSTREAMS, Cell, era_of, journey, proves
from tests.journeys.requirements import STATELESS
from tests.support import raw_http
from tests.support.clients import raw_session
from tests.support.hub import Hub
from tests.support.raw_http import Answer

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")]
CACHEABLE: Final = {"resultType", "ttlMs", "cacheScope"}


@proves("session-life")
async def test_a_session_begins_and_ends(hub: Hub) -> None:
    async with raw_session(hub.url) as client:
        assert client.session_id is not None
        assert all(0x21 <= ord(character) <= 0x7E for character in client.session_id)
        assert (await client.request("ping")).json()["result"] == {}
        ended = await raw_http.send("DELETE", hub.url, headers=client.headers("", {}))
        assert ended.status in (200, 204)
        after = await client.request("ping")
    assert after.status == 404


@proves("session-life")
async def test_a_request_without_a_session_is_refused(hub: Hub) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}'
    answer = await raw_http.post(hub.url, body, {"MCP-Protocol-Version": "2025-11-25"})
    assert answer.status == 400


@journey("older-revisions", upstreams=HTTP_UPSTREAMS)
async def test_a_client_is_answered_in_its_revision(cell: Cell) -> None:
    for revision in ("2025-03-26", "2025-06-18", "2025-11-25"):
        async with cell.speaking(revision=revision) as client:
            assert client.greeting["protocolVersion"] == revision
            assert client.greeting["capabilities"]["tools"] == {"listChanged": True}
            answer = await client.call(cell.name("echo"), {"text": revision})
            assert answer.json()["result"]["content"][0]["text"] == revision


@journey("removed-methods", upstreams=HTTP_UPSTREAMS)
async def test_methods_the_stateless_era_has_not_are_not_found(cell: Cell) -> None:
    async with cell.speaking() as client:
        for method in ("ping", "logging/setLevel", "resources/subscribe", "no/such/method"):
            answer = await client.request(method)
            assert answer.json()["error"]["code"] == -32601
            assert not isinstance(answer, Answer) or answer.status == 404


@journey("era-members", upstreams=HTTP_UPSTREAMS)
async def test_results_have_the_members_of_the_client_s_era(cell: Cell) -> None:
    said_so = cell.stateless or era_of(cell.upstream) == STATELESS
    async with cell.speaking() as client:
        listed = (await client.request("tools/list")).json()["result"]
        read = (await client.request("resources/read", {"uri": f"test://only-{cell.upstream}"})).json()["result"]
        called = (await client.call(cell.name("echo"), {"text": "x"})).json()["result"]
    assert CACHEABLE & listed.keys() == (CACHEABLE if cell.stateless else set())
    assert CACHEABLE & read.keys() == (CACHEABLE if said_so else set())
    assert CACHEABLE & called.keys() == ({"resultType"} if said_so else set())


@journey("capabilities", upstreams=HTTP_UPSTREAMS)
async def test_capabilities_are_the_union_of_what_can_be_served(cell: Cell) -> None:
    async with cell.client() as client:
        declared = client.server_capabilities
        assert declared is not None
        offered = declared.model_dump(exclude_none=True, by_alias=True)
    assert offered["tools"] == {"listChanged": True}
    assert offered["prompts"] == {"listChanged": True}
    assert offered["resources"] == {"listChanged": True, "subscribe": True}
    assert {"logging", "completions"} <= offered.keys()
