"""Real clients: the Python SDK in both eras, over HTTP+SSE and over stdio, and one that writes JSON-RPC itself.

Owns how a test speaks to an MCP endpoint. Of the hub it knows `mcp-hub connect`, which clients over stdio start.
"""

import itertools
import json
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import mcp_types as types
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.sse import sse_client
from mcp_types.version import LATEST_MODERN_VERSION

from tests.support import raw_http
from tests.support.hub import COMMAND
from tests.support.raw_http import Answer

READ_TIMEOUT_S: Final = 15.0
HANDSHAKE: Final = "2025-11-25"
STATELESS: Final = LATEST_MODERN_VERSION
INFO: Final = {"name": "raw-client", "version": "1"}
NAMED: Final = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    **dict.fromkeys(("tasks/get", "tasks/update", "tasks/cancel"), "taskId"),
}


def _client(server: Any, mode: str, options: dict[str, Any]) -> Client:
    return Client(server, mode=mode, cache=None, read_timeout_seconds=READ_TIMEOUT_S, **options)


def session(url: str, **options: Any) -> Client:
    """An SDK client that shakes hands and has a session (Streamable HTTP, 2025-11-25)."""
    return _client(url, "legacy", options)


def stateless(url: str, **options: Any) -> Client:
    """An SDK client without a session (Streamable HTTP, 2026-07-28)."""
    return _client(url, "auto", options)


def sse(url: str, **options: Any) -> Client:
    """An SDK client over the deprecated HTTP+SSE transport (2024-11-05)."""
    return _client(sse_client(url), "legacy", options)


def _connecting(url: str) -> StdioServerParameters:
    return StdioServerParameters(command=str(COMMAND), args=["connect", "--url", url])


def stdio_session(url: str, **options: Any) -> Client:
    """An SDK client that knows only stdio and shakes hands: `mcp-hub connect` is the server it starts."""
    return _client(_connecting(url), "legacy", options)


def stdio_stateless(url: str, **options: Any) -> Client:
    """An SDK client that knows only stdio, without a handshake: `mcp-hub connect` is the server it starts."""
    return _client(_connecting(url), "auto", options)


async def all_tools(client: Client) -> dict[str, types.Tool]:
    """Every tool of every page by name; a name that comes twice is an error."""
    found: dict[str, types.Tool] = {}
    cursor: str | None = None
    while True:
        page = await client.list_tools(cursor=cursor)
        for tool in page.tools:
            assert tool.name not in found, f"{tool.name} is listed twice"
            found[tool.name] = tool
        if (cursor := page.next_cursor) is None:
            return found


def text_of(result: types.CallToolResult) -> str:
    """The text of a result that has exactly one text."""
    (content,) = result.content
    assert isinstance(content, types.TextContent)
    return content.text


async def refusal(call: Awaitable[object]) -> types.ErrorData:
    """The JSON-RPC error that a call ends with; a call that ends well is a failed assertion.

    `pytest.raises` fails with an exception that is no `Exception`, which no task group of a client survives.
    """
    try:
        result = await call
    except MCPError as error:
        return error.error
    raise AssertionError(f"no error but {result}")


class RawClient:
    """A JSON-RPC client over Streamable HTTP that sends what it is given and shows what it got.

    Without `session_id` it is stateless: every request carries the envelope and the standard headers of 2026-07-28.
    """

    def __init__(
        self,
        url: str,
        session_id: str | None = None,
        capabilities: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.url = url
        self._own_headers = dict(headers or {})
        self.session_id = session_id
        self.capabilities = dict(capabilities or {})
        self.revision = HANDSHAKE
        self.info = INFO
        self.greeting: dict[str, Any] = {}
        """What a session's `initialize` was answered with."""
        self._ids = itertools.count(1)

    @property
    def handshake(self) -> bool:
        """Whether the client has a session."""
        return self.session_id is not None

    def headers(self, method: str, params: Mapping[str, Any]) -> dict[str, str]:
        """The headers a request of this method has."""
        if self.session_id is not None:
            return {**self._own_headers, "Mcp-Session-Id": self.session_id, "MCP-Protocol-Version": self.revision}
        standard = {**self._own_headers, "MCP-Protocol-Version": STATELESS, "Mcp-Method": method}
        return {**standard, "Mcp-Name": params[NAMED[method]]} if method in NAMED else standard

    def envelope(self) -> dict[str, Any]:
        """The `_meta` members that name a stateless client."""
        if self.handshake:
            return {}
        prefix = "io.modelcontextprotocol/"
        return {
            f"{prefix}protocolVersion": STATELESS,
            f"{prefix}clientInfo": self.info,
            f"{prefix}clientCapabilities": self.capabilities,
        }

    def body(self, method: str, params: Mapping[str, Any], client_id: object = None) -> bytes:
        """A request as bytes, its envelope included."""
        meta = {**self.envelope(), **params.get("_meta", {})}
        full = {**params, "_meta": meta} if meta else dict(params)
        identity = next(self._ids) if client_id is None else client_id
        return json.dumps({"jsonrpc": "2.0", "id": identity, "method": method, "params": full}).encode()

    async def request(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        timeout_s: float = READ_TIMEOUT_S,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request, with these headers besides its own, and read its whole answer."""
        sent = params or {}
        return await self.send(self.body(method, sent), method, sent, timeout_s, headers)

    async def send(
        self,
        body: bytes,
        method: str,
        params: Mapping[str, Any],
        timeout_s: float = READ_TIMEOUT_S,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send this request, whose method and params are said beside, and read its whole answer."""
        fields = {**self.headers(method, params), **(headers or {})}
        return await raw_http.post(self.url, body, fields, timeout_s)

    async def call(self, name: str, arguments: Mapping[str, Any] | None = None) -> Answer:
        """`tools/call` of this tool."""
        return await self.request("tools/call", {"name": name, "arguments": dict(arguments or {})})

    async def call_raw(self, name: str, arguments_raw: bytes, timeout_s: float = READ_TIMEOUT_S) -> Answer:
        """`tools/call` with arguments given as bytes, which are sent as they are."""
        marker = "@@arguments@@"
        params = {"name": name, "arguments": marker}
        body = self.body("tools/call", params).replace(json.dumps(marker).encode(), arguments_raw)
        return await self.send(body, "tools/call", params, timeout_s)


def hello(revision: str = HANDSHAKE, capabilities: Mapping[str, Any] | None = None) -> bytes:
    """An `initialize` request."""
    params = {"protocolVersion": revision, "capabilities": dict(capabilities or {}), "clientInfo": INFO}
    return json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}).encode()


@asynccontextmanager
async def raw_session(
    url: str,
    revision: str = HANDSHAKE,
    capabilities: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> AsyncGenerator[RawClient]:
    """A raw client that shook hands; its session is deleted at the end."""
    answer = await raw_http.post(url, hello(revision, capabilities), headers)
    assert answer.status == 200, answer
    client = RawClient(url, answer.headers["mcp-session-id"], headers=headers)
    client.greeting = answer.json()["result"]
    client.revision = client.greeting["protocolVersion"]
    done = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
    accepted = await raw_http.post(url, done, client.headers("notifications/initialized", {}))
    assert accepted.status == 202, accepted
    try:
        yield client
    finally:
        await raw_http.send("DELETE", url, headers=client.headers("", {}))
