"""The port as a whole: who is let in, how large a body may be, and what is answered before any protocol."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from mcp import Client

from tests.support import raw_http
from tests.support.clients import RawClient, refusal, session, stateless
from tests.support.gateway import gateway
from tests.unit.gateway.frontends.conftest import BODY_LIMIT_BYTES, Front

pytestmark = pytest.mark.anyio
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


@pytest.mark.parametrize("headers", ({"Host": "example.com"}, {"Origin": "https://example.com"}, {"Origin": "null"}))
@pytest.mark.parametrize("method", ("GET", "POST", "DELETE", "OPTIONS"))
async def test_a_page_from_elsewhere_gets_403(front: Front, headers: dict[str, str], method: str) -> None:
    answer = await front.send(PING, method, **headers)
    assert answer.status == 403
    assert answer.json()["error"]["code"] == -32600
    assert answer.json()["id"] is None
    assert "access-control-allow-origin" not in answer.headers


async def test_the_rest_interface_is_guarded_in_its_own_words(front: Front) -> None:
    base = front.url.removesuffix("/mcp")
    refused = await raw_http.send("GET", f"{base}/api/health", headers={"Host": "example.com"})
    assert (refused.status, refused.json()["code"]) == (403, "FORBIDDEN")
    assert (await raw_http.send("GET", f"{base}/api/health")).status == 200
    for probe in ("/healthz", "/readyz"):
        assert (await raw_http.send("GET", base + probe, headers={"Host": "10.1.2.3"})).status == 200
    assert (await raw_http.send("GET", f"{base}/no/such/path")).status == 404


async def test_a_page_of_this_machine_is_let_in(front: Front) -> None:
    client = await front.session()
    answer = await front.send(PING, Origin="http://localhost:3000", Mcp_Session_Id=client.session_id or "")
    assert answer.status == 200


PAGE = "https://app.example.com"


async def test_a_page_of_an_allowed_origin_uses_the_hub_as_browsers_do(tmp_path: Path) -> None:
    """A browser asks first, and shows a page no answer and no header that it was not told to show."""
    names = "content-type, mcp-session-id, mcp-protocol-version"
    asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": names}
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "page", "version": "1"}}
    hello = json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}).encode()
    async with gateway({}, tmp_path, allowed_origins=(PAGE,)) as house:
        before = await raw_http.send("OPTIONS", house.url, headers={"Origin": PAGE, **asking})
        assert before.status == 200
        assert before.headers["access-control-allow-origin"] == PAGE
        assert before.headers["access-control-allow-headers"] == names
        assert "POST" in before.headers["access-control-allow-methods"]
        accept = {"Accept": raw_http.ACCEPT, "Content-Type": "application/json"}
        answer = await raw_http.send("POST", house.url, hello, {"Origin": PAGE, **accept})
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "mcp-session-id" in answer.headers["access-control-expose-headers"]
        for origin, path in (("http://localhost:3000", "/mcp"), (PAGE, "/api/health")):
            base = house.url.removesuffix("/mcp")
            refused = await raw_http.send("OPTIONS", base + path, headers={"Origin": origin, **asking})
            assert refused.status == 405, "only who is named, and only the endpoint"
            assert "access-control-allow-origin" not in refused.headers


async def test_a_body_over_the_limit_gets_413(front: Front) -> None:
    huge = {**PING, "params": {"x": "y" * BODY_LIMIT_BYTES}}
    answer = await front.send(huge)
    assert answer.status == 413
    assert answer.json()["error"]["code"] == -32602
    client = RawClient(front.url)
    arguments = {"x": "y" * (BODY_LIMIT_BYTES - 1_000)}
    assert (await client.call("a__echo", arguments)).status == 200, "up to the limit it goes through"


@pytest.mark.parametrize("opened", (session, stateless))
async def test_a_client_is_told_why_what_was_not_read_is_refused(front: Front, opened: Callable[[str], Client]) -> None:
    """Its SDK finds the reason only in an error that has an id, if only null."""
    async with opened(front.url) as client:
        refused = await refusal(client.call_tool("a__echo", {"x": "y" * BODY_LIMIT_BYTES}))
    assert "limit" in refused.message


async def test_a_body_without_a_length_is_limited_too(front: Front) -> None:
    parts = urlsplit(front.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(
        f"POST /mcp HTTP/1.1\r\nHost: {parts.netloc}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        + b"".join(b"%x\r\n%b\r\n" % (1000, b"x" * 1000) for _ in range(BODY_LIMIT_BYTES // 1000 + 1))
    )
    async with asyncio.timeout(raw_http.TIMEOUT_S):
        assert b" 413 " in await reader.readline()
    writer.close()


@pytest.mark.parametrize("method", ("PUT", "PATCH", "HEAD", "OPTIONS"))
async def test_other_methods_are_not_allowed(front: Front, method: str) -> None:
    answer = await front.send(b"", method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, POST, DELETE")


@pytest.mark.parametrize(
    ("body", "code"),
    (
        (b"", -32700),
        (b"{", -32700),
        (b"[]", -32600),
        (b"7", -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"\xff"}}', -32700),
        (b'{"id":1,"method":"ping"}', -32600),
    ),
)
async def test_garbage_gets_400_and_says_what_is_wrong(front: Front, body: bytes, code: int) -> None:
    answer = await front.send(body)
    assert answer.status == 400
    said = json.loads(answer.body)
    if body == b"[]":
        assert said["error"]["message"] == "No Mcp-Session-Id"
    assert said["error"]["code"] == code


async def test_a_slash_behind_the_path_is_the_same_path(front: Front) -> None:
    client = await front.session()
    fields = {"Content-Type": "application/json", "Mcp-Session-Id": client.session_id or ""}
    answer = await raw_http.send("POST", front.url + "/", json.dumps(PING).encode(), fields)
    assert answer.json()["result"] == {}
