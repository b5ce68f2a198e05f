"""The gateway's one port: which path goes to which room.

The MCP endpoint stands before the framework: a call passes no router and no middleware of anybody else's.
"""

from __future__ import annotations

from collections.abc import Awaitable

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from hub_gateway.frontends import cors
from hub_gateway.frontends.access import asked_view
from hub_gateway.frontends.asked import Asked, read_asked
from hub_gateway.frontends.guards import Guard, headers_of, send_body
from hub_gateway.frontends.http_sse import MESSAGES_PATH, HttpSse
from hub_gateway.frontends.posts import MCP_PATH, Post
from hub_gateway.frontends.streamable_http import StreamableHttp
from hub_gateway.wire import codec
from hub_gateway.wire.errors import INVALID_REQUEST, error_object

PROBES = frozenset({"/healthz", "/readyz"})
"""Answered whatever the Host: an orchestrator probes by address, and there is nothing in the answer."""


class App:
    """The ASGI application of the gateway process."""

    def __init__(self, guard: Guard, mcp: StreamableHttp, http_sse: HttpSse, management: ASGIApp) -> None:
        self._guard = guard
        self._mcp = mcp
        self._http_sse = http_sse
        self._management = management

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request. The lifespan is the composition root's."""
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        headers = headers_of(scope)
        why = None if path in PROBES else self._guard.refusal(headers)
        if why is not None:
            await _refuse(path, why, send)
            return
        asked = asked_view(path)
        if (asked is not None or path == MESSAGES_PATH) and (origin := self._guard.page_of(headers)) is not None:
            if cors.is_preflight(scope["method"], headers):
                await cors.allow(send, origin, headers)
                return
            send = cors.readable(send, origin)
        if asked is not None:
            await self._mcp(scope, receive, send, asked)
        elif path == MESSAGES_PATH and scope["method"] == "POST":
            await self._http_sse.post(scope, receive, send)
        else:
            await self._management(scope, receive, send)

    def post(self, post: Post) -> Awaitable[None]:
        """Answer one ordinary POST to the endpoint or a view's URL: most of all requests, without ASGI between."""
        head = post.head
        asked: Asked | None = head.notes
        if asked is None:
            asked = head.notes = read_asked(head.fields, self._guard)
        return self._mcp.post(post, asked) if asked.refusal is None else _refuse(MCP_PATH, asked.refusal, post)


async def _refuse(path: str, why: str, send: Send) -> None:
    body = codec.error(b"", error_object(INVALID_REQUEST, why))
    if asked_view(path) is None and path != MESSAGES_PATH:
        body = msgspec.json.encode({"error": why, "code": "FORBIDDEN"})
    await send_body(send, 403, body)
