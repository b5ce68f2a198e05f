"""A test server that has everything, on the Python SDK: Streamable HTTP, stdio and HTTP+SSE, in one era or in both.

Owns the assembly, the command line and the choice of era. What the server offers is in the `everything_*` modules.
`python -m tests.support.everything_server --transport http --port 0 --era both` prints its URL as the first line.
"""

import argparse
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import mcp_types as types
from mcp.server.context import CallNext, HandlerResult
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.runner import serve_loop
from mcp.server.sse import SseServerTransport
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import ListenHandler
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.message import SessionMessage
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.support.event_log import EventLog
from tests.support.everything_asking import add_asking_tools
from tests.support.everything_content import Contents
from tests.support.everything_state import State
from tests.support.everything_toolbox import Ctx, Toolbox
from tests.support.everything_tools import UNKNOWN_MEMBERS, add_tools
from tests.support.serving import serve_http

NAME: Final = "everything"
INSTRUCTIONS: Final = "Use echo to test whether the way is open."
RETRY_MS: Final = 100
LOCAL: Final = TransportSecuritySettings(
    allowed_hosts=["127.0.0.1:*", "localhost:*", "[::1]:*"],
    allowed_origins=["http://127.0.0.1:*", "http://localhost:*", "http://[::1]:*"],
)


class EverythingServer(Server[dict[str, Any]]):
    """The SDK's server, announcing changes of every list in the handshake era too."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        """The answer to `initialize`, with `listChanged` set for tools, prompts and resources."""
        changes = notification_options or NotificationOptions(True, True, True)
        return super().create_initialization_options(changes, experimental_capabilities, extensions)


async def add_unknown_members(ctx: Ctx, call_next: CallNext) -> HandlerResult:
    """Middleware: put members no schema knows into the definition and the result of `unknown_members`."""
    result = await call_next(ctx)
    if not isinstance(result, dict):
        return result
    if ctx.method == "tools/call" and (ctx.params or {}).get("name") == "unknown_members":
        return {**result, **UNKNOWN_MEMBERS}
    if ctx.method == "tools/list":
        tools = [{**t, **UNKNOWN_MEMBERS} if t["name"] == "unknown_members" else t for t in result["tools"]]
        return {**result, "tools": tools}
    return result


def build(name: str = NAME) -> EverythingServer:
    """A server with all tools, resources, prompts and completions, and its own state."""
    state = State(name)
    box, contents = Toolbox(state), Contents(state)
    add_tools(box)
    add_asking_tools(box)
    contents.add_changing_tools(box)
    server = EverythingServer(
        name,
        version="1.0.0",
        title="Everything",
        instructions=INSTRUCTIONS,
        on_list_tools=box.list,
        on_call_tool=box.call,
        on_list_resources=contents.list_resources,
        on_list_resource_templates=contents.list_templates,
        on_read_resource=contents.read,
        on_subscribe_resource=contents.subscribe,
        on_unsubscribe_resource=contents.unsubscribe,
        on_subscriptions_listen=ListenHandler(state.bus),
        on_list_prompts=contents.list_prompts,
        on_get_prompt=contents.get_prompt,
        on_completion=contents.complete,
    )
    server.add_request_handler("logging/setLevel", types.SetLevelRequestParams, contents.set_level)
    server.add_notification_handler("notifications/initialized", types.NotificationParams, state.joined)
    server.add_notification_handler("notifications/roots/list_changed", types.NotificationParams, state.roots_changed)
    server.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=name))
    server.middleware.append(add_unknown_members)
    return server


def _refusal(requested: object) -> dict[str, Any]:
    """The error member of a server that does not speak the revision it was asked for (2026-07-28, versioning)."""
    data = {"supported": list(MODERN_PROTOCOL_VERSIONS), "requested": requested}
    return {"code": types.UNSUPPORTED_PROTOCOL_VERSION, "message": "Unsupported protocol version", "data": data}


class OneEra:
    """ASGI wrapper: let only one era through and answer the other as a server of one era does."""

    def __init__(self, app: ASGIApp, era: str) -> None:
        self._app = app
        self._era = era

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request of the era, refuse one of the other."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = dict(scope["headers"]).get(b"mcp-protocol-version", b"").decode("latin-1")
        modern = bool(asked) and asked not in HANDSHAKE_PROTOCOL_VERSIONS
        if modern == (self._era == "stateless"):
            await self._app(scope, receive, send)
        elif self._era == "handshake":
            error = {"code": types.INVALID_REQUEST, "message": f"Bad Request: Unsupported protocol version: {asked}"}
            await _answer(400, None, error)(scope, receive, send)
        else:
            await _refuse_handshake(scope, receive, send)


def _answer(status: int, client_id: object, error: dict[str, Any]) -> Response:
    body = json.dumps({"jsonrpc": "2.0", "id": client_id, "error": error})
    return Response(body, status_code=status, media_type="application/json")


async def _refuse_handshake(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    if request.method != "POST":
        await Response(status_code=405, headers={"Allow": "POST"})(scope, receive, send)
        return
    message: dict[str, Any] = json.loads(await request.body())
    params: dict[str, Any] = message.get("params") or {}
    requested = params.get("protocolVersion")
    await _answer(400, message.get("id"), _refusal(requested))(scope, receive, send)


def http_app(server: EverythingServer, era: str) -> ASGIApp:
    """The Streamable HTTP application at /mcp."""
    app = server.streamable_http_app(
        event_store=EventLog(), retry_interval=RETRY_MS, transport_security=LOCAL, max_request_body_size=64 << 20
    )
    return app if era == "both" else OneEra(app, era)


def sse_app(server: EverythingServer) -> ASGIApp:
    """The HTTP+SSE application of revision 2024-11-05: GET /sse, POST /messages/."""
    transport = SseServerTransport("/messages/", security_settings=LOCAL)

    async def stream(request: Request) -> Response:
        send = request._send  # pyright: ignore[reportPrivateUsage]
        async with transport.connect_sse(request.scope, request.receive, send) as (read, write):
            await server.run(read, write, server.create_initialization_options())
        return Response()

    return Starlette(routes=[Route("/sse", stream), Mount("/messages/", transport.handle_post_message)])


@asynccontextmanager
async def _without_initialize(read: Any, write: Any) -> AsyncGenerator[Any]:
    """A read stream in which `initialize` was answered with a refusal and left out."""
    send, receive = anyio.create_memory_object_stream[SessionMessage | Exception](16)

    async def pump() -> None:
        async with send:
            async for item in read:
                request = item.message if isinstance(item, SessionMessage) else None
                if not isinstance(request, types.JSONRPCRequest) or request.method != "initialize":
                    await send.send(item)
                    continue
                error = types.ErrorData.model_validate(_refusal((request.params or {}).get("protocolVersion")))
                await write.send(SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=request.id, error=error)))

    async with anyio.create_task_group() as group:
        group.start_soon(pump)
        yield receive
        group.cancel_scope.cancel()


async def serve_stdio(server: EverythingServer, era: str) -> None:
    """Serve standard input and output until the input ends."""
    async with stdio_server() as (read, write):
        options = server.create_initialization_options()
        if era == "both":
            await server.run(read, write, options)
        elif era == "stateless":
            async with _without_initialize(read, write) as filtered:
                await server.run(filtered, write, options)
        else:
            await serve_loop(server, read, write, lifespan_state={}, init_options=options)


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transport", choices=("http", "stdio", "sse"), default="http")
    parser.add_argument("--era", choices=("both", "handshake", "stateless"), default="both")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--until-eof", action="store_true", help="end when standard input ends (http, sse)")
    parser.add_argument("--name", default=NAME, help="what whoami answers")
    arguments = parser.parse_args()
    server = build(arguments.name)
    if arguments.transport == "stdio":
        anyio.run(serve_stdio, server, arguments.era)
    elif arguments.transport == "sse":
        serve_http(sse_app(server), "/sse", arguments.port, until_eof=arguments.until_eof)
    else:
        serve_http(http_app(server, arguments.era), "/mcp", arguments.port, until_eof=arguments.until_eof)


if __name__ == "__main__":
    main()
