"""The endpoint itself: sessions, revisions and the methods an era does not have."""

import json

import pytest

from tests.journeys.matrix import proves
from tests.support import raw_http
from tests.support.clients import INFO, RawClient, raw_session
from tests.support.hub import Hub

pytestmark = pytest.mark.anyio


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


@proves("older-revisions")
@pytest.mark.parametrize("revision", ("2025-03-26", "2025-06-18", "2025-11-25"))
async def test_a_client_is_answered_in_its_revision(hub: Hub, revision: str) -> None:
    params = {"protocolVersion": revision, "capabilities": {}, "clientInfo": INFO}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}).encode()
    answer = await raw_http.post(hub.url, body)
    result = answer.json()["result"]
    assert result["protocolVersion"] == revision
    assert result["capabilities"]["tools"] == {"listChanged": True}
    headers = {"Mcp-Session-Id": answer.headers["mcp-session-id"], "MCP-Protocol-Version": revision}
    await raw_http.send("DELETE", hub.url, headers=headers)


@proves("removed-methods")
@pytest.mark.parametrize("method", ("ping", "logging/setLevel", "resources/subscribe", "no/such/method"))
async def test_methods_the_stateless_era_has_not_are_not_found(hub: Hub, method: str) -> None:
    answer = await RawClient(hub.url).request(method)
    assert answer.status == 404
    assert answer.json()["error"]["code"] == -32601
